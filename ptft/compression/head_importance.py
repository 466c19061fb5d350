"""How much the heads and neurons of a transformer matter.

Taylor: how far the loss of an example would move, to first order, if a unit gave nothing: |dL / dg| of a gate g = 1 on
what it gives, the mean over examples (Michel and others, arXiv 1905.10650; Molchanov and others, arXiv 1906.10771).
Legend: B batch, T tokens, U units of a group, S rows of a unit.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ptft.compression.attention_layers import Group
from ptft.data.data_module import Batch
from ptft.task.task import Task


def taylor(task: Task, groups: Sequence[Group], batches: Iterable[Batch]) -> list[Tensor]:
    """Return the scores (U,) of each group's units, float64: the mean of |dL / dg| over examples.

    Args:
        task: In evaluation mode, its network `model`; not changed.
        groups: Units of the network.
        batches: Training examples, on the task's device.
    """
    scores = [torch.zeros(group.count, dtype=torch.float64) for group in groups]
    seen = 0
    for batch in batches:
        with torch.enable_grad(), _gated(task.get_submodule("model"), groups) as gates:
            output = task.loss(task(batch), batch, task.phases[0])
            total = sum(output.coefficients.get(name, 1.0) * value for name, value in output.sums.items())
            assert isinstance(total, Tensor)
            slopes = torch.autograd.grad(total, [gates[group.leaving] for group in groups])
        for score, slope in zip(scores, slopes, strict=True):
            score += slope.abs().flatten(0, -2).double().sum(0).cpu()
        seen += len(batch["index"])
    return [score / max(seen, 1) for score in scores]


def magnitude(network: nn.Module, groups: Sequence[Group]) -> list[Tensor]:
    """Return the scores (U,) of each group's units, float64: the L2 norm of all weights that would go with a unit."""
    scores = []
    for group in groups:
        squares = torch.zeros(group.count, dtype=torch.float64)
        for axis in group.axes:
            rows = network.get_parameter(axis.tensor).detach().double().movedim(axis.dim, 0)
            each = rows.reshape(len(rows), -1).square().sum(1).cpu()
            squares += each.view(axis.repeats, group.count, group.size).sum(dim=(0, 2))
        scores.append(squares.sqrt())
    return scores


@contextmanager
def _gated(network: nn.Module, groups: Sequence[Group]) -> Iterator[dict[str, Tensor]]:
    """Put a gate of 1 on each unit of each example; they are found by the name of the module that reads the units."""
    gates: dict[str, Tensor] = {}
    handles = [
        network.get_submodule(group.leaving).register_forward_pre_hook(partial(_gate, gates, group)) for group in groups
    ]
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()


def _gate(gates: dict[str, Tensor], group: Group, module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
    (features,) = given  # (B, T, U * S)
    gate = features.new_ones(len(features), *[1] * (features.ndim - 2), group.count, requires_grad=True)
    gates[group.leaving] = gate
    return (features * gate.repeat_interleave(group.size, dim=-1),)
