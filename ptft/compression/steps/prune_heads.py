"""Structured pruning of transformers: attention heads and feed-forward neurons that matter least go, then it trains.

Heads: Michel and others, Are Sixteen Heads Really Better than One?, arXiv 1905.10650; where all layers compete, their
scores are divided by the L2 norm of their layer's, as there. Neurons go in the same number from each layer, so that a
config of transformers can tell how many there are. Left out: the width of the tokens themselves.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ptft.compression.attention_layers import Group, config_of, cut, find_groups, torch_attentions
from ptft.compression.head_importance import magnitude, taylor
from ptft.compression.self_attention import replace_attention
from ptft.compression.step import Edit, NetworkStep, Workshop
from ptft.compression.structure import shapes_edit, snapshot
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.task.task import Task
from ptft.types import DurationText, PositiveInt, UnitFloat

WIDTHS = ("n_inner", "hidden_dim", "intermediate_size")
"""What configs of transformers call the hidden width of a feed-forward."""


class PruneHeads(NetworkStep):
    """Cuts heads and neurons out of every layer; a layer always keeps one head and `round_to` neurons."""

    walks = ("heads", "feed_forward")

    def __init__(
        self,
        *,
        heads: UnitFloat = 0.25,
        feed_forward: UnitFloat = 0.25,
        importance: Literal["taylor", "magnitude"] = "taylor",
        scope: Literal["layer", "global"] = "layer",
        iterations: PositiveInt = 1,
        recover: DurationText | None = "1ep",
        recover_between: DurationText | None = None,
        round_to: PositiveInt = 8,
        samples: PositiveInt = 256,
    ) -> None:
        """Set what goes.

        Args:
            heads: Share of the heads to remove.
            feed_forward: Share of the neurons to remove, the same number in each layer.
            importance: How units are compared: taylor, by what the loss on training examples would lose to first
                order; magnitude, by the norm of their weights.
            scope: Whether the share of heads is that of each layer, or that of all, from layers with the least of them.
            iterations: In how many equal parts.
            recover: How long to train afterwards; None: not at all.
            recover_between: How long to train after each part but the last; None: not at all.
            round_to: The width of a feed-forward that stays is a multiple of it.
            samples: Training examples that `taylor` looks at.
        """
        self.heads = heads
        self.feed_forward = feed_forward
        self.importance = importance
        self.scope = scope
        self.iterations = iterations
        self.recover = recover
        self.recover_between = recover_between
        self.round_to = round_to
        self.samples = samples

    def check(self, task: Task, spec: DataSpec) -> None:
        """Find networks without heads that can be cut, and shares that come to nothing.

        Raises:
            ConfigError: The network is no transformer of a known kind, or nothing would go.
        """
        network = task.get_submodule("model")
        if names := torch_attentions(network):
            network = copy.deepcopy(network)
            replace_attention(network, names)
        groups = find_groups(network)
        if self._targets(groups, 1.0) == self._targets(groups, 0.0):
            raise ConfigError(
                f"prune_heads with heads={self.heads:g} and feed_forward={self.feed_forward:g} removes nothing of "
                f"{_told(groups)}; raise one of them"
            )

    def apply(self, task: Task, workshop: Workshop) -> Sequence[Edit]:
        """Cut, train, and return the edits: torch's own attention replaced, where there is any, and the new shapes."""
        network = task.get_submodule("model")
        edits: list[Edit] = []
        if names := torch_attentions(network):
            replace_attention(network, names)
            edits.append({"kind": "attention", "modules": names})
        before, groups = snapshot(network), find_groups(network)
        for part in range(1, self.iterations + 1):
            self._prune(task, workshop, self._targets(groups, part / self.iterations))
            if part < self.iterations and self.recover_between is not None:
                workshop.recover(task, self.recover_between, part=f"between{part}")
        pruned = find_groups(network)
        workshop.say(f"pruned {_told(groups)} to {_told(pruned)}")
        changes = _tell_config(network, pruned)
        edits.append(shapes_edit(before, network, changes))
        if self.recover is not None:
            workshop.recover(task, self.recover)
        return edits

    def _targets(self, groups: Sequence[Group], share: float) -> tuple[int, tuple[int, ...]]:
        """Return how many heads there shall be in all, and how many units each group shall have.

        Args:
            groups: The units before the first cut.
            share: How much of the way is gone, 0 to 1; with the scope `global` heads are counted in all alone.
        """
        sizes = []
        for group in groups:
            if group.kind == "feed_forward":
                kept = group.count * (1 - self.feed_forward * share)
                rounded = self.round_to * max(1, round(kept / self.round_to))
                sizes.append(min(group.count, rounded) if self.feed_forward * share else group.count)
            else:
                sizes.append(max(1, group.count - _nearest(self.heads * share * group.count)))
        heads = [group.count for group in groups if group.kind == "heads"]
        in_all = max(len(heads), sum(heads) - _nearest(self.heads * share * sum(heads)))
        if self.scope == "layer":
            in_all = sum(size for group, size in zip(groups, sizes, strict=True) if group.kind == "heads")
        else:
            sizes = [1 if group.kind == "heads" else size for group, size in zip(groups, sizes, strict=True)]
        return in_all, tuple(sizes)

    def _prune(self, task: Task, workshop: Workshop, targets: tuple[int, tuple[int, ...]]) -> None:
        """Cut down to so many units, those that matter least now."""
        network = task.get_submodule("model")
        groups = find_groups(network)
        if self.importance == "taylor":
            scores = taylor(task, groups, workshop.batches(self.samples))
        else:
            scores = magnitude(network, groups)
        in_all, sizes = targets
        kept = [_best(score, size) for score, size in zip(scores, sizes, strict=True)]
        if self.scope == "global":
            heads = [place for place, group in enumerate(groups) if group.kind == "heads"]
            kept_heads = best_of_all([scores[place] for place in heads], in_all)
            for place, chosen in zip(heads, kept_heads, strict=True):
                kept[place] = chosen
        for group, keep in zip(groups, kept, strict=True):
            if len(keep) < group.count:
                cut(network, group, keep)


def best_of_all(scores: Sequence[Tensor], in_all: int) -> list[list[int]]:
    """Return which units of each layer stay where all compete: the best of each layer, and the best of the others.

    Args:
        scores: (U,) of each layer; compared after division by their L2 norm.
        in_all: How many stay, at least one a layer.
    """
    scaled = [score / score.norm().clamp(min=torch.finfo(score.dtype).tiny) for score in scores]
    kept = [set(_best(score, 1)) for score in scaled]
    rest = sorted(
        ((float(value), -layer, -unit) for layer, score in enumerate(scaled) for unit, value in enumerate(score)
         if unit not in kept[layer]), reverse=True,
    )  # fmt: skip
    for _, layer, unit in rest[: max(0, in_all - len(scores))]:
        kept[-layer].add(-unit)
    return [sorted(units) for units in kept]


def _best(score: Tensor, count: int) -> list[int]:
    """Return the places of the `count` highest scores, in order; of equal ones the first."""
    return sorted(score.sort(descending=True, stable=True).indices[:count].tolist())


def _nearest(value: float) -> int:
    """Return the nearest whole number, of two the larger."""
    return math.floor(value + 0.5 + 1e-9)


def _tell_config(network: nn.Module, groups: Sequence[Group]) -> dict[str, Any]:
    """Tell a network of transformers how wide its feed-forward is now, and return what was told."""
    config = config_of(network)
    name = next((name for name in WIDTHS if hasattr(config, name)), None)
    widths = {group.count for group in groups if group.kind == "feed_forward"}
    if config is None or name is None or len(widths) != 1:
        return {}
    width = widths.pop()
    setattr(config, name, width)
    return {name: width}


def _told(groups: Sequence[Group]) -> str:
    """Return how many heads and neurons the layers have: `12 x 12 heads, 3072 wide`."""
    heads = [group.count for group in groups if group.kind == "heads"]
    widths = sorted({group.count for group in groups if group.kind == "feed_forward"})
    layers = str(heads[0]) if len(set(heads)) == 1 else "+".join(map(str, heads))
    return f"{len(heads)} layers of {layers} heads and {'/'.join(map(str, widths))} neurons"
