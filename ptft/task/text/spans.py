"""Spans of tokens: the best ones by the logits of their start and of their end."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_AT_ONCE = 1 << 22
"""Spans that are looked at together: bounds the memory to some hundred MB."""


@dataclass(frozen=True)
class Spans:
    """The best spans of some windows, on the CPU, in float64.

    Attributes:
        score: (B, K) logit of the start plus logit of the end, the best first; minus infinity where there are fewer.
        start: (B, K) first token.
        end: (B, K) last token.
        null: (B,) the score of no answer: that of the first token as start and end.
        log_total: (B,) logarithm of the sum of exp(score) over all pairs of tokens that may start and end.
    """

    score: Tensor
    start: Tensor
    end: Tensor
    null: Tensor
    log_total: Tensor


def best_spans(logits: Tensor, allowed: Tensor, longest: int, count: int = 1) -> Spans:
    """Return the best spans of each window.

    Args:
        logits: (B, T, 2) of start and end.
        allowed: (B, T) bool, the tokens that an answer may start and end with.
        longest: Most tokens of a span.
        count: How many spans.
    """
    few = max(1, _AT_ONCE // (logits.shape[1] * min(longest, logits.shape[1])))
    logits, allowed = logits.detach().cpu().double(), allowed.cpu()
    begins = range(0, len(logits), few)
    parts = [vars(_best(logits[begin : begin + few], allowed[begin : begin + few], longest, count)) for begin in begins]
    return Spans(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _best(logits: Tensor, allowed: Tensor, longest: int, count: int) -> Spans:
    start, end = logits.masked_fill(~allowed[..., None], -torch.inf).unbind(-1)  # (B, T) each
    width = min(longest, logits.shape[1])
    ends = F.pad(end, (0, width - 1), value=-torch.inf).unfold(1, width, 1)  # (B, T, W): ends at 0 to W - 1 behind
    scores = (start[..., None] + ends).flatten(1)  # (B, T * W), the earlier start first, then the shorter span
    if count == 1:
        score, place = (values[:, None] for values in scores.max(dim=1))  # of equal ones the first
    else:
        score, place = scores.sort(dim=1, descending=True, stable=True)
        score, place = score[:, :count], place[:, :count]
    begin = place // width
    return Spans(
        score=score,
        start=begin,
        end=begin + place % width,
        null=logits[:, 0].sum(-1),
        log_total=start.logsumexp(1) + end.logsumexp(1),
    )


def may_be_chosen(allowed: Tensor) -> Tensor:
    """Return `allowed` (B, T) with the first token of each window, which stands for no answer."""
    first = torch.zeros_like(allowed)
    first[:, 0] = True
    return allowed | first


def masked_logits(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return logits (B, T, 2) with minus infinity at all tokens that may not be chosen; the first may always be.

    Args:
        logits: (B, T, 2).
        allowed: (B, T) bool, the tokens that an answer may start and end with.
    """
    return logits.masked_fill(~may_be_chosen(allowed)[..., None], -torch.inf)
