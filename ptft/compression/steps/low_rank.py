"""Low-rank factorisation: a linear layer or a convolution becomes two thin ones, by its singular values.

The best approximation of a matrix by one of a lower rank is its truncated singular value decomposition (Eckart and
Young, 1936); convolutions as in Zhang and others, arXiv 1505.06798, without their activations. Left out: layers whose
weight is shared or is read by others than the layer itself (torch's attention), as two layers cannot stand there.
"""

import copy
import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ptft.compression.cost import count_parameters, example_inputs, multiply_adds, network_inputs
from ptft.compression.step import Edit, NetworkStep, Workshop
from ptft.compression.structure import replace_module, split_layer
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.task.task import Task
from ptft.types import DurationText, UnitFloat

READ_DIRECTLY = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
"""Modules of torch that read the weights of layers in them without calling those."""


class LowRank(NetworkStep):
    """Splits each layer in two where that saves parameters."""

    def __init__(
        self,
        *,
        energy: UnitFloat | None = 0.95,
        ratio: UnitFloat | None = None,
        layers: list[str] | None = None,
        recover: DurationText | None = "2ep",
    ) -> None:
        """Keep the settings; exactly one of `energy` and `ratio` is given, the other null.

        Args:
            energy: Share of the sum of squared singular values that each layer keeps.
            ratio: Share of each layer's weights to remove.
            layers: Regular expressions, found anywhere in a layer's name; null: all linear layers and convolutions.
            recover: Training afterwards; null: none.
        """
        self.energy, self.ratio, self.layers, self.recover = energy, ratio, layers, recover

    def check(self, task: Task, spec: DataSpec) -> None:
        """Look for the layers, and run a copy whose layers are split.

        Raises:
            ConfigError: Both or neither of `energy` and `ratio` are given, no layer is meant, or the network reads
                weights of layers that would be split.
        """
        if (self.energy is None) == (self.ratio is None):
            raise ConfigError(
                f"low_rank takes energy or ratio, one of them; found energy={self.energy}, ratio={self.ratio}. "
                "Set the other to null"
            )
        network = task.get_submodule("model")
        found = splittable_layers(network, self.layers)
        if not found:
            raise ConfigError(
                f"low_rank finds no layers in {type(network).__name__} that layers={self.layers} names; its layers are "
                f"{', '.join(splittable_layers(network, None)) or 'none of those that can be split'}"
            )
        trial = copy.deepcopy(network).eval()
        for name in found:
            replace_module(trial, name, split_layer(trial.get_submodule(name), 1))
        try:
            with torch.no_grad():
                trial(*example_inputs(spec))
        except Exception as error:  # networks read weights, and fail, each in its own way
            raise ConfigError(
                f"low_rank: {type(network).__name__} does not run once its layers are split ({error!r}); name fewer "
                "by layers=, regular expressions over their names"
            ) from None

    def apply(self, task: Task, workshop: Workshop) -> Sequence[Edit]:
        """Split the layers and recover."""
        network = task.get_submodule("model")
        inputs = network_inputs(task, next(iter(workshop.batches(1))))
        before = count_parameters(network), multiply_adds(network, inputs)
        ranks: dict[str, int] = {}
        for name, layer in splittable_layers(network, self.layers).items():
            matrix = _matrix(layer)
            rank = self._rank(matrix)
            if rank * sum(matrix.shape) < matrix.numel():
                replace_module(network, name, factorised(layer, rank))
                ranks[name] = rank
        if not ranks:
            workshop.warn("low_rank split no layer, as none would have fewer weights; ask for less energy")
            return []
        after = count_parameters(network), multiply_adds(network, inputs)
        workshop.say(
            f"low rank: {len(ranks)} layers split, {before[0]:,} -> {after[0]:,} parameters, "
            f"{before[1]:,} -> {after[1]:,} multiply-adds"
        )
        if self.recover is not None:
            workshop.recover(task, self.recover)
        return [{"kind": "low_rank", "ranks": ranks}]

    def _rank(self, matrix: Tensor) -> int:
        if self.ratio is not None:
            return max(1, math.floor((1 - self.ratio) * matrix.numel() / sum(matrix.shape)))
        return energy_rank(torch.linalg.svdvals(matrix), self.energy if self.energy is not None else 1.0)


def splittable_layers(network: nn.Module, patterns: Sequence[str] | None) -> dict[str, nn.Module]:
    """Return the linear layers and convolutions that two layers can replace, by name.

    Args:
        network: The network.
        patterns: Regular expressions of which one is found in the name; None: all layers.

    Raises:
        ConfigError: A pattern is no regular expression.
    """
    try:
        wanted = [re.compile(pattern) for pattern in patterns or ()]
    except re.error as error:
        raise ConfigError(f"low_rank: layers={patterns} takes regular expressions; {error}") from None
    uses: dict[int, int] = {}
    for _, parameter in network.named_parameters(remove_duplicate=False):
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    closed = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, READ_DIRECTLY))
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        plain: Any = type(module)  # subclasses do more than their class
        if plain not in (nn.Linear, nn.Conv2d) or getattr(module, "groups", 1) != 1 or name.startswith(closed):
            continue
        own = all(uses[id(parameter)] == 1 for parameter in module.parameters())
        if own and name and (patterns is None or any(pattern.search(name) for pattern in wanted)):
            found[name] = module
    return found


def energy_rank(singular: Tensor, energy: float) -> int:
    """Return the lowest rank whose singular values keep a share of the sum of all squares, at least 1.

    Args:
        singular: (n,) float64, descending.
        energy: The share, from 0 to 1.
    """
    kept = singular.square().cumsum(0)
    short = int((kept < energy * kept[-1] * (1 - 1e-12)).sum())  # rounding must not ask for one more
    return min(short + 1, len(singular))


@torch.no_grad()
def factorised(layer: nn.Module, rank: int) -> nn.Sequential:
    """Return two layers whose product is the best approximation of a layer's weight by a rank; the bias stays exact.

    Args:
        layer: A linear layer, or a convolution of one group.
        rank: From 1 to the smaller side of the weight as a matrix.
    """
    left, singular, right = torch.linalg.svd(_matrix(layer), full_matrices=False)
    root = singular[:rank].sqrt()
    pair = split_layer(layer, rank)
    first, second = pair[0].weight, pair[1].weight
    assert isinstance(first, Tensor) and isinstance(second, Tensor)
    first.copy_((root[:, None] * right[:rank]).reshape(first.shape))
    second.copy_((left[:, :rank] * root).reshape(second.shape))
    if isinstance(layer.bias, Tensor):
        pair[1].bias.copy_(layer.bias)  # type: ignore[operator]
    return pair


def _matrix(layer: nn.Module) -> Tensor:
    """Return a layer's weight as a matrix of its outputs by what each reads: (out, in) float64."""
    assert isinstance(layer.weight, Tensor)
    return layer.weight.detach().double().flatten(1)
