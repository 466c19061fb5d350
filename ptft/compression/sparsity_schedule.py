"""Gradual magnitude pruning: masks over weights, and the hook that tightens them along a cubic curve.

    sparsity(t) = target * (1 - (1 - t)^3)      t: how far between begin and end, 0 to 1

(Zhu and Gupta, arXiv 1710.01878.) A mask is a parametrisation of a weight, so that what the network computes with is 0
whatever momentum, weight decay or an average do to the numbers beneath; it is a buffer, so that checkpoints carry it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ptft.errors import ConfigError

NAMES = ("weight", "in_proj_weight")
"""What modules call weights; positions and class tokens are called otherwise."""


class Mask(nn.Module):
    """A parametrisation that gives 0 for the numbers of a weight that are pruned."""

    kept: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with zeros where it is pruned."""
        return torch.where(self.kept, weight, torch.zeros((), dtype=weight.dtype, device=weight.device))


class Masks:
    """The masks of a network's weights.

    Args:
        network: The network; `put_on` changes it in place and `take_off` leaves plain weights.
        exclude: Regular expressions, found anywhere in a weight's name, of those that are not pruned.
        scope: Whether the smallest weights of all layers go, or as large a share of each.
    """

    def __init__(self, network: nn.Module, exclude: Sequence[str], scope: Literal["global", "layer"]) -> None:
        self.scope = scope
        self.weights = prunable_weights(network, exclude)
        self._places: dict[tuple[nn.Module, str], int] = {}

    def put_on(self) -> None:
        """Put a mask that keeps everything on each weight."""
        for module, name in self.weights.values():
            self._places[module, name] = list(module._parameters).index(name)
            parametrize.register_parametrization(module, name, Mask(getattr(module, name)))

    def take_off(self) -> None:
        """Leave plain weights, with zeros where they are pruned."""
        for module, name in self.weights.values():
            later = list(module._parameters)[self._places[module, name] :]
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
            for other in later:  # the order of before, in which others may name them
                module._parameters[other] = module._parameters.pop(other)

    @property
    def sparsity(self) -> float:
        """Share of the masked weights that are pruned."""
        kept = [self._mask(module, name).kept for module, name in self.weights.values()]
        return 1 - sum(int(mask.sum()) for mask in kept) / sum(mask.numel() for mask in kept)

    @torch.no_grad()
    def tighten(self, target: float) -> None:
        """Prune the smallest weights until a share of them is pruned; what is pruned stays so.

        Args:
            target: The share, from 0 to 1.
        """
        masks = [self._mask(module, name) for module, name in self.weights.values()]
        scores = []
        for mask, (module, name) in zip(masks, self.weights.values(), strict=True):
            original: Tensor = module.parametrizations[name].original  # type: ignore[union-attr, index]
            score = original.detach().abs().float()
            scores.append(torch.where(mask.kept, score, -1.0).flatten())  # what is pruned is the smallest of all
        if self.scope == "global":
            gone = list(torch.split(smallest(torch.cat(scores), target), [len(score) for score in scores]))
        else:
            gone = [smallest(score, target) for score in scores]
        for mask, lost in zip(masks, gone, strict=True):
            mask.kept.logical_and_(~lost.view_as(mask.kept))

    @staticmethod
    def _mask(module: nn.Module, name: str) -> Mask:
        mask = module.parametrizations[name][0]  # type: ignore[index]
        assert isinstance(mask, Mask)
        return mask


class GradualPruning:
    """A hook (`ptft.runtime.hook`) that tightens masks along the cubic curve, at the steps where that is due alone."""

    def __init__(self, masks: Masks, *, target: float, begin: int, end: int, every: int) -> None:
        """Take the times.

        Args:
            masks: The masks, on the network that is trained.
            target: Sparsity at the end.
            begin: Steps done when pruning begins.
            end: Steps done when the target is reached.
            every: Steps between two prunings.
        """
        self.masks, self.target, self.begin, self.end, self.every = masks, target, begin, end, every

    def sparsity(self, step: int) -> float:
        """Return the sparsity that belongs to a number of steps done."""
        return cubic(step, self.target, self.begin, self.end)

    def next_due(self, step: int) -> float:
        """Return the first number of steps done after `step` at which masks change; infinity: never again."""
        if step >= self.end:
            return math.inf
        after = max(step + 1 - self.begin, 0)
        return min(self.begin + math.ceil(after / self.every) * self.every, self.end)

    def apply(self, step: int) -> None:
        """Tighten the masks if that is due once `step` steps are done."""
        if self.next_due(step - 1) == step:
            self.masks.tighten(self.sparsity(step))

    def describe(self) -> str:
        """Return what will happen when, in one line."""
        return f"zeros: up to {self.target:.0%} of the weights from step {self.begin:,} to {self.end:,}"


def cubic(step: int, target: float, begin: int, end: int) -> float:
    """Return the sparsity after some steps: 0 until `begin`, `target` from `end` on, and the cubic curve between."""
    if step >= end:
        return target
    return target * (1 - (1 - max(step - begin, 0) / (end - begin)) ** 3)


def smallest(scores: Tensor, share: float) -> Tensor:
    """Return which of (n,) numbers are the smallest round(share * n), exactly so many even where some are equal."""
    count = round(share * len(scores))
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    bound = scores.kthvalue(count).values
    chosen = scores < bound
    equal = (scores == bound).nonzero().flatten()
    chosen[equal[: count - int(chosen.sum())]] = True
    return chosen


def prunable_weights(network: nn.Module, exclude: Sequence[str] = ()) -> Mapping[str, tuple[nn.Module, str]]:
    """Return the weights that masks can be put on, by name: the module that has each and what it calls it.

    Weights have two dimensions and more. Left out are those that several modules share, and recurrent layers, which
    keep their weights a second time.

    Raises:
        ConfigError: A pattern is no regular expression.
    """
    try:
        patterns = [re.compile(pattern) for pattern in exclude]
    except re.error as error:
        raise ConfigError(f"prune_magnitude: exclude={list(exclude)} takes regular expressions; {error}") from None
    uses: dict[int, int] = {}
    for _, parameter in network.named_parameters(remove_duplicate=False):
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    found = {}
    for prefix, module in network.named_modules():
        if isinstance(module, nn.RNNBase):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            if name not in NAMES or parameter.ndim < 2 or uses[id(parameter)] > 1:
                continue
            if not any(pattern.search(full) for pattern in patterns):
                found[full] = (module, name)
    return found
