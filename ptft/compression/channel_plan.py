"""Which channels to remove so that a network costs no more than a target: the least missed first, a few at a time.

The cost of a layer falls with the channels it reads times those it writes, so that what a channel saves changes with
its neighbours; the plan follows that.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ptft.compression.channels import ChannelGroup, depthwise

Of = Literal["multiply_adds", "parameters"]
Scope = Literal["saving", "global", "layer"]


@dataclass
class LayerCost:
    """What a layer costs, by its channels.

    Attributes:
        product: What falls with both the channels read and those written: the weight, at each position.
        written: What falls with the channels written alone: biases, norms, depthwise convolutions.
        reads: Channels it reads.
        writes: Channels it writes.
        gone: Channels removed so far, of those it reads and of those it writes.
    """

    product: float
    written: float
    reads: int
    writes: int
    gone: dict[str, int] = field(default_factory=lambda: {"reads": 0, "writes": 0})

    def cost(self, more: Mapping[str, int]) -> float:
        """Return the cost once `more` channels of each side are removed."""
        read, written = (
            1 - (self.gone[side] + more.get(side, 0)) / max(total, 1)
            for side, total in (("reads", self.reads), ("writes", self.writes))
        )
        return self.product * read * written + self.written * written


def layer_costs(
    network: nn.Module, inputs: Sequence[Tensor], groups: Sequence[ChannelGroup], of: Of
) -> dict[str, LayerCost]:
    """Return the cost of each layer that has channels of a group, by its name.

    Args:
        network: The network.
        inputs: Arguments for one example.
        groups: Its groups of channels.
        of: Multiply-adds of one pass of the inputs, or parameters.
    """
    modules = {member.name: member.module for group in groups for member in group.members}
    if of == "parameters":
        return {name: _layer_cost(module, _numel(module, "weight"), _numel(module, "bias"))
                for name, module in modules.items()}  # fmt: skip
    positions = _positions(network, inputs, modules)
    return {
        name: _layer_cost(module, _numel(module, "weight") * positions.get(name, 0), 0)
        for name, module in modules.items()
    }


@dataclass
class Plan:
    """Chooses channels, a few at a time.

    Attributes:
        groups: The groups of channels.
        importance: Importance of the channels of each group: (size,).
        costs: Cost of each layer by name; what the plan removes is noted there.
        initial: Channels of each group before anything was removed.
        max_per_layer: The largest share of them that may go.
        round_to: What the number of channels left is a multiple of, unless it never was.
        scope: `saving`: those of the least importance for what each saves; `global`: of the least importance; `layer`:
            the same share of each group.
    """

    groups: Sequence[ChannelGroup]
    importance: Sequence[Tensor]
    costs: dict[str, LayerCost]
    initial: Sequence[int]
    max_per_layer: float
    round_to: int
    scope: Scope

    def choose(self, cost: float, target: float) -> list[list[int]]:
        """Return the channels to remove of each group, so that the cost falls to the target or as far as it can.

        Args:
            cost: Of the whole network now, in the unit of `costs`.
            target: What it may be.
        """
        queues = [Queue(group, values) for group, values in zip(self.groups, self.importance, strict=True)]
        names = [{member.name for member in group.members} for group in self.groups]
        ratings = [self._rate(place, queue) for place, queue in enumerate(queues)]
        while cost > target:
            rated = [(*rating, place) for place, rating in enumerate(ratings) if rating is not None]
            if not rated:
                break
            _, saving, count, best = min(rated)
            cost -= saving
            queues[best].taken += count // self.groups[best].blocks
            for name, more in _removed(self.groups[best], count).items():
                for side, number in more.items():
                    self.costs[name].gone[side] += number
            for place, queue in enumerate(queues):
                if names[place] & names[best]:  # what the others save did not change
                    ratings[place] = self._rate(place, queue)
        return [queue.channels() for queue in queues]

    def _rate(self, place: int, queue: "Queue") -> tuple[float, float, int] | None:
        """Return how much the next channels of a group would be missed, what they save and how many they are."""
        group = self.groups[place]
        floor = max(math.ceil(self.initial[place] * (1 - self.max_per_layer)), self.round_to)
        step = queue.next_step(floor, self.round_to)
        if step == 0:
            return None
        count = step * group.blocks
        saving = sum(
            self.costs[name].cost({}) - self.costs[name].cost(more) for name, more in _removed(group, count).items()
        )
        if saving <= 0:
            return None
        if self.scope == "layer":
            left = group.size - (queue.taken + step) * group.blocks
            return 1 - left / self.initial[place], saving, count
        missed = queue.importance(step)
        return missed / (saving if self.scope == "saving" else count), saving, count


class Queue:
    """Channels of a group, the least important first; blocks of channels lose the same places.

    Attributes:
        taken: How many places of each block are taken.
    """

    def __init__(self, group: ChannelGroup, importance: Tensor) -> None:
        """Put the channels in order.

        Args:
            group: The group.
            importance: (size,), by what each channel is missed.
        """
        self.size, self.blocks = group.size, group.blocks
        self.places = importance.view(self.blocks, -1).sum(0)  # (channels of a block,)
        self.order = torch.argsort(self.places, stable=True)
        self.sums = torch.cat([torch.zeros(1, dtype=self.places.dtype), self.places[self.order].cumsum(0)]).tolist()
        self.taken = 0

    def next_step(self, floor: int, round_to: int) -> int:
        """Return how many places of each block go next; 0: none can."""
        multiple = round_to // math.gcd(self.blocks, round_to)
        left = len(self.places) - self.taken
        step = left % multiple or multiple
        after = (left - step) * self.blocks
        return step if after >= floor else 0

    def importance(self, step: int) -> float:
        """Return the importance of the next places of all blocks."""
        return float(self.sums[self.taken + step] - self.sums[self.taken])

    def channels(self) -> list[int]:
        """Return the channels taken."""
        width = len(self.places)
        taken = self.order[: self.taken].tolist()
        return sorted(block * width + place for block in range(self.blocks) for place in taken)


def _removed(group: ChannelGroup, count: int) -> dict[str, dict[str, int]]:
    """Return how many channels each layer loses on either side if a group loses `count`."""
    removed: dict[str, dict[str, int]] = {}
    for member in group.members:
        sides = removed.setdefault(member.name, {})
        sides[member.side] = sides.get(member.side, 0) + count * len(member.owners) // group.size
    return removed


def _numel(module: nn.Module, name: str) -> int:
    tensor = getattr(module, name, None)
    return tensor.numel() if isinstance(tensor, Tensor) else 0


def _layer_cost(module: nn.Module, weight: float, bias: float) -> LayerCost:
    if isinstance(module, nn.Linear):
        return LayerCost(weight, bias, module.in_features, module.out_features)
    if isinstance(module, nn.modules.conv._ConvNd) and not depthwise(module):
        return LayerCost(weight, bias, module.in_channels, module.out_channels)
    return LayerCost(0.0, weight + bias, 0, len(module.weight) if isinstance(module.weight, Tensor) else 0)


@torch.no_grad()
def _positions(network: nn.Module, inputs: Sequence[Tensor], modules: Mapping[str, nn.Module]) -> dict[str, int]:
    """Return at how many places each layer's weight is applied in one pass of the inputs."""
    places: dict[str, int] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            tensor = given[0] if getattr(module, "transposed", False) else output
            channels = tensor.shape[-1] if isinstance(module, nn.Linear) else tensor.shape[1]
            places[name] = places.get(name, 0) + tensor.numel() // max(channels, 1)

        return note

    layers = nn.modules.conv._ConvNd | nn.Linear
    hooks = [m.register_forward_hook(watch(name)) for name, m in modules.items() if isinstance(m, layers)]
    try:
        network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return places
