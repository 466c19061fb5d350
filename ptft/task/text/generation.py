"""Continuing a text token by token: temperature, top-k, top-p, a key-value cache, and draws that are always the same.

The random numbers of a continuation depend on the seed and on its prompt alone, so neither the prompts beside it nor
the size of the batch change what is written; another seed gives another text.
Legend: B prompts of one length, T tokens so far, V vocabulary.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.runtime.random import Draws


@runtime_checkable
class ContinuesText(Protocol):
    """A network that tells the next token, and keeps what it worked out of the earlier ones."""

    def next_token(self, input_ids: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Return the logits (B, V) of the next token and the cache; with a cache `input_ids` are only the new ones."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """The most tokens it takes, where there is such a number."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from the probabilities of the next one.

    Attributes:
        temperature: The logits are divided by it: below 1 more of the likely, above 1 more of the unlikely; 0 always
            takes the most likely one.
        top_k: Only so many of the most likely tokens are drawn; None: all.
        top_p: Only the fewest most likely tokens that together have this probability (arXiv 1904.09751); 1: all.
    """

    temperature: float
    top_k: int | None
    top_p: float

    def draw(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Return one token for each prompt, (B,) int64.

        Args:
            logits: (B, V).
            uniform: (B,) random numbers in [0, 1).
        """
        if self.temperature == 0:
            return logits.argmax(dim=1)
        scaled = logits.double() / self.temperature
        ordered, token = scaled.sort(dim=1, descending=True, stable=True)
        ordered = ordered[:, : self.top_k]
        probability = ordered.softmax(dim=1)
        before = probability.cumsum(dim=1) - probability  # of the tokens that are likelier
        probability = probability.masked_fill(before >= self.top_p, 0.0)
        reached = probability.cumsum(dim=1)
        place = torch.searchsorted(reached, uniform.double()[:, None] * reached[:, -1:], right=True)
        return token.gather(1, place.clamp(max=probability.shape[1] - 1))[:, 0]


@dataclass(frozen=True)
class Writer:
    """Continues prompts with a network.

    Attributes:
        model: The network.
        context: The most tokens it is shown; beyond them it goes on from the last half.
        stops: Tokens that end a text; they are not part of it.
        never: Tokens that are not drawn: padding, masks.
    """

    model: ContinuesText
    context: int
    stops: tuple[int, ...]
    never: tuple[int, ...]

    @classmethod
    def of(cls, model: object, spec: DataSpec) -> "Writer":
        """Return the writer for a network and its data.

        Raises:
            ConfigError: The network does not tell the next token.
        """
        if not isinstance(model, ContinuesText):
            raise ConfigError(
                f"task=text/causal continues texts, but {type(model).__name__} does not tell the next token; choose "
                "model=text/gpt_nano or model=text/gpt2"
            )
        number = spec.special_tokens
        stops = tuple({number[role] for role in ("eos", "sep") if role in number})
        never = tuple({number[role] for role in ("pad", "unk", "cls", "mask", "bos") if role in number} - set(stops))
        context = min(spec.shape[0], model.max_tokens or spec.shape[0])
        return cls(model, context, stops, never)

    def write(self, prompts: Sequence[Sequence[int]], sampling: Sampling, length: int, seed: int) -> list[list[int]]:
        """Return at most `length` new tokens for each prompt, which has one token at least."""
        written: list[list[int]] = [[] for _ in prompts]
        for size in sorted({len(prompt) for prompt in prompts}):
            numbers = [number for number, prompt in enumerate(prompts) if len(prompt) == size]
            group = [list(prompts[number]) for number in numbers]
            index = torch.tensor([_hash(prompt) for prompt in group])
            draws = Draws(seed, torch.zeros_like(index), index).child("writer")
            for number, tokens in zip(numbers, self._continue(group, draws, sampling, length), strict=True):
                written[number] = tokens
        return written

    def _continue(self, prompts: list[list[int]], draws: Draws, sampling: Sampling, length: int) -> list[list[int]]:
        """Continue prompts of one length."""
        device = next(self.model.parameters()).device  # type: ignore[attr-defined]
        tokens = torch.tensor(prompts, device=device)
        begin = tokens.shape[1]
        given, cache, seen = tokens[:, -self.context :], None, 0
        never = torch.tensor(self.never, device=device, dtype=torch.long)
        ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)
        for step in range(length):
            logits, cache = self.model.next_token(given, cache)
            seen += given.shape[1]
            drawn = sampling.draw(logits.float().index_fill(1, never, -torch.inf), draws.uniform(step).to(device))
            tokens = torch.cat([tokens, drawn[:, None]], dim=1)  # (B, T + 1)
            for stop in self.stops:
                ended |= drawn == stop
            if bool(ended.all()):
                break
            given = drawn[:, None]
            if seen == self.context:  # no place is left: begin anew with the last half
                given, cache, seen = tokens[:, -max(self.context // 2, 1) :], None, 0
        return [self._until_stop(row[begin:]) for row in tokens.tolist()]

    def _until_stop(self, tokens: list[int]) -> list[int]:
        ends = [place for place, token in enumerate(tokens) if token in self.stops]
        return tokens[: ends[0]] if ends else tokens


def _hash(tokens: Sequence[int]) -> int:
    """Return 63 bits of a prompt, the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(list(tokens)).encode()).digest()[:8], "little") >> 1
