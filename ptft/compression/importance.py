"""How much a network would miss each channel of a group.

taylor      squared first-order change of the loss if all layers that read the channel saw zeros in its place: the sum
            of gradient times weight over what reads it, squared, mean over mini-batches of training data
            (Molchanov and others, arXiv 1906.10771, its gates standing where the channel is read)
magnitude   sum of the absolute weights of the filters that write it (Li and others, arXiv 1608.08710)
group_norm  sum of the squared weights of all that writes, scales and reads it (arXiv 2301.12900)
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ptft.compression.channels import ChannelGroup, Member
from ptft.data.data_module import Batch
from ptft.task.task import Task


def taylor(task: Task, batches: Iterable[Batch], groups: Sequence[ChannelGroup]) -> list[Tensor]:
    """Return the Taylor importance of the channels of each group: (size,) float64.

    To be called within `all_trained`; gradients of parameters are left as they are.

    Args:
        task: The task, in evaluation mode.
        batches: Training examples, on its device.
        groups: Groups of channels of its network.
    """
    readers = {m.name: m.module for group in groups for m in group.members if m.side == "reads"}
    totals = [torch.zeros(group.size, dtype=torch.float64) for group in groups]
    count = 0
    for batch in batches:
        changes = _changes(total_loss(task, batch), readers)
        for total, group in zip(totals, groups, strict=True):
            total += _gathered(group, [(m, changes[m.name]) for m in group.members if m.side == "reads"]).square()
        count += 1
    return [total / max(count, 1) for total in totals]


def magnitude(groups: Sequence[ChannelGroup]) -> list[Tensor]:
    """Return the sum of absolute weights of the filters that write each channel: (size,) float64 a group."""
    return [
        _gathered(group, [(m, _by_channel(m.module, m.module.weight, m.side).abs().sum(1)) for m in _writers(group)])  # type: ignore[arg-type]
        for group in groups
    ]


def group_norm(groups: Sequence[ChannelGroup]) -> list[Tensor]:
    """Return the sum of squared weights of everything that has each channel: (size,) float64 a group."""
    found = []
    for group in groups:
        members = [(m, m.module.weight) for m in group.members if isinstance(m.module.weight, Tensor)]
        found.append(_gathered(group, [(m, _by_channel(m.module, w, m.side).square().sum(1)) for m, w in members]))
    return found


def total_loss(task: Task, batch: Batch) -> Tensor:
    """Return the mean loss of a batch as a scalar: the sum of each term over its count, by its coefficient."""
    phase = task.phases[0]
    counts = task.count(batch, phase)
    output = task.loss(task(batch), batch, phase)
    terms = [
        output.coefficients.get(name, 1.0) * value / max(float(counts[name]), 1e-12)
        for name, value in output.sums.items()
    ]
    return torch.stack(terms).sum()


def _changes(loss: Tensor, readers: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Return for each layer the sum of gradient times weight over what reads each of its input channels."""
    weights: list[Tensor] = [module.weight for module in readers.values()]  # type: ignore[misc]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    found = {}
    for (name, module), weight, gradient in zip(readers.items(), weights, gradients, strict=True):
        product = torch.zeros_like(weight) if gradient is None else gradient * weight
        found[name] = _by_channel(module, product.double(), "reads").sum(1)
    return found


def _by_channel(module: nn.Module, values: Tensor, side: str) -> Tensor:
    """Return numbers of the shape of a layer's weight by its channels on one side: (channels, numbers of each)."""
    values = values.detach()
    if values.ndim == 1:  # a norm
        return values[:, None]
    groups = getattr(module, "groups", 1)
    if getattr(module, "transposed", False):
        values = values.transpose(0, 1)
    if side == "writes":
        return values.flatten(1)
    blocks = values.reshape(groups, values.shape[0] // groups, values.shape[1], -1)
    return blocks.transpose(1, 2).reshape(groups * values.shape[1], -1)


def _writers(group: ChannelGroup) -> list[Member]:
    layers = nn.modules.conv._ConvNd | nn.Linear
    return [m for m in group.members if m.side == "writes" and isinstance(m.module, layers)]


def _gathered(group: ChannelGroup, values: Sequence[tuple[Member, Tensor]]) -> Tensor:
    """Add up what layers say of their own channels, by channel of the group."""
    total = torch.zeros(group.size, dtype=torch.float64)
    for member, value in values:
        total.index_add_(0, member.owners, value.detach().double().cpu()[member.channels])
    return total
