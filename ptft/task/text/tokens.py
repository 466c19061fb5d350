"""What tasks over tokens share: the loss of each chosen token, its sums over each example, the logits of windows.

Legend: B batch, T time, N chosen tokens of the batch in row-major order, V vocabulary.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.loss.cast import at_least_float32
from ptft.task.task import Outputs, Records

IGNORED = -100
"""The label of a token that is not asked for, as in torch and transformers."""
TOKENS_AT_ONCE = 1 << 14
"""Tokens of one forward pass in a prediction, padding included: a long text may come as thousands of windows."""
LOGITS_AT_ONCE = 1 << 25
"""Logits of one forward pass in evaluation: 128 MB in float32, whatever the vocabulary."""


def chosen(batch: Batch) -> Tensor:
    """Return which tokens are asked for, (B, T) bool."""
    asked: Tensor = batch["labels"] != IGNORED
    return asked


def network_outputs(model: nn.Module, spec: DataSpec, batch: Batch) -> tuple[Tensor, ...]:
    """Return the logits (N, V) of the chosen tokens, and behind them what else the network gives."""
    given: Tensor | tuple[Tensor, ...] = model(*(batch[name] for name in spec.inputs), chosen=chosen(batch))
    return given if isinstance(given, tuple) else (given,)


def window_logits(model: nn.Module, spec: DataSpec, batch: Batch) -> Tensor:
    """Return the logits (B, T, ...) of all windows of a batch, which go through the network a few at a time."""
    few = max(1, TOKENS_AT_ONCE // batch["input_ids"].shape[1])
    parts = zip(*(batch[name].split(few) for name in spec.inputs), strict=True)
    return torch.cat([model(*part) for part in parts])


def outputs_with_logits(model: nn.Module, spec: DataSpec, batch: Batch) -> Outputs:
    """Return what `token_outputs` does with gradients, and `logits` (N, V) of the chosen tokens."""
    return _outputs(model, spec, batch, with_prediction=False, with_logits=True)


def token_outputs(model: nn.Module, spec: DataSpec, batch: Batch) -> Outputs:
    """Return what a network says of the chosen tokens, reduced at once so that no logits are kept in evaluation.

    Args:
        model: Called with the data's inputs and `chosen` (B, T); gives logits (N, V), or a tuple of them and the
            logits (B, 2) of a pair of segments.
        spec: Names the inputs.
        batch: With `labels` (B, T).

    Returns:
        `token_loss` (N,), the negative log likelihood in nats, at least float32; without gradients also `prediction`
        (N,), the most probable token; `pair_logits` (B, 2) if the network gives them.
    """
    if torch.is_grad_enabled():
        return _outputs(model, spec, batch, with_prediction=False)
    most = max(int(chosen(batch).sum(dim=1).max()), 1)
    rows = max(LOGITS_AT_ONCE // (most * spec.vocab_size), 1)
    starts = range(0, len(batch["index"]), rows)
    pieces = [{name: value[start : start + rows] for name, value in batch.items()} for start in starts]
    outputs = [_outputs(model, spec, piece, with_prediction=True) for piece in pieces]
    return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}


def _outputs(
    model: nn.Module, spec: DataSpec, batch: Batch, *, with_prediction: bool, with_logits: bool = False
) -> Outputs:
    logits, *pair_logits = network_outputs(model, spec, batch)
    labels = batch["labels"][chosen(batch)]  # (N,)
    outputs = {"token_loss": F.cross_entropy(at_least_float32(logits), labels, reduction="none")}
    if with_prediction:
        outputs["prediction"] = logits.argmax(dim=1)
    if with_logits:
        outputs["logits"] = logits
    return outputs | ({"pair_logits": pair_logits[0]} if pair_logits else {})


def sums_by_example(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Return `loss` (the sum of its tokens' losses), `tokens` and `hits` of each example, (B,) float64 on the CPU."""
    asked = chosen(batch)
    row = asked.nonzero()[:, 0].cpu()  # (N,) the example of each chosen token
    hits = outputs["prediction"] == batch["labels"][asked]
    zeros = torch.zeros(len(asked), dtype=torch.float64)
    return {
        "loss": zeros.index_add(0, row, outputs["token_loss"].double().cpu()),
        "tokens": asked.sum(dim=1).double().cpu(),
        "hits": zeros.index_add(0, row, hits.double().cpu()),
    }


def records(columns: Mapping[str, Tensor], batch: Batch) -> Records:
    """Return what is kept of each example: index, the mean loss of its tokens (0 without any), and their number."""
    tokens = columns["tokens"]
    return {
        "index": batch["index"].cpu(),
        "loss": columns["loss"] / tokens.clamp(min=1),
        "tokens": tokens.long(),
    }
