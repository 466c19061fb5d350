"""Structured pruning of convolutional networks: whole channels are removed, so that any runtime is faster by it.

Layers whose channels hang together are found by torch-pruning (arXiv 2301.12900). Channels are removed over several
rounds with training between them, the least missed first, until the network costs as little as asked for.
"""

import copy
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ptft.compression import importance as kinds
from ptft.compression.channel_plan import Plan, layer_costs
from ptft.compression.channels import ChannelGroup, all_trained, channel_groups
from ptft.compression.cost import count_parameters, example_inputs, multiply_adds, network_inputs
from ptft.compression.step import Edit, NetworkStep, Workshop
from ptft.compression.structure import shapes_edit, snapshot
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.runtime.duration import Duration
from ptft.task.task import Task
from ptft.types import DurationText, PositiveInt, UnitFloat

BATCH = 32
"""Examples of a mini-batch whose gradient counts as one observation of the Taylor importance."""


class PruneChannels(NetworkStep):
    """Removes channels of convolutions and linear layers; the outputs and the pictures' channels stay."""

    walks = ("ratio",)

    def __init__(
        self,
        *,
        ratio: UnitFloat = 0.5,
        of: Literal["multiply_adds", "parameters"] = "multiply_adds",
        importance: Literal["taylor", "magnitude", "group_norm"] = "taylor",
        scope: Literal["saving", "global", "layer"] = "saving",
        iterations: PositiveInt = 3,
        recover_between: DurationText | None = "1ep",
        recover: DurationText | None = "5ep",
        round_to: PositiveInt = 4,
        max_per_layer: UnitFloat = 0.9,
        samples: PositiveInt = 1024,
    ) -> None:
        """Keep the settings.

        Args:
            ratio: Share of `of` to remove.
            of: What is counted: multiply-adds of one example, or parameters.
            importance: By what a channel is missed (`ptft.compression.importance`).
            scope: What goes first: of all layers' channels those of the least importance for what each saves of `of`,
                or (`global`) of the least importance alone; `layer`: as large a share of each layer.
            iterations: Rounds; each removes the same share of what is left.
            recover_between: Training after each round but the last; null: none.
            recover: Training after the last round; null: none.
            round_to: Numbers of channels become multiples of it, as the loops of a processor's vectors are full then.
            max_per_layer: The largest share of a layer's channels that may go.
            samples: Training examples that the Taylor importance is measured on.
        """
        self.ratio, self.of, self.importance, self.scope = ratio, of, importance, scope
        self.iterations, self.recover_between, self.recover = iterations, recover_between, recover
        self.round_to, self.max_per_layer, self.samples = round_to, max_per_layer, samples

    def check(self, task: Task, spec: DataSpec) -> None:
        """Trace a copy of the network.

        Raises:
            ConfigError: It is no convolutional network, or one that cannot be traced.
        """
        for text in (self.recover, self.recover_between):
            if text is not None:
                Duration.parse(text, "compression.steps.prune_channels.recover")
        network = copy.deepcopy(task.get_submodule("model"))
        if not any(isinstance(m, nn.Conv2d) and not _patches(m) for m in network.modules()):
            raise ConfigError(
                f"prune_channels is for convolutional networks, and {type(network).__name__} has no convolutions but "
                "those that make patches; take compression steps for transformers, such as prune_heads"
            )
        try:
            with all_trained(network):
                groups = channel_groups(network, example_inputs(spec))
        except ImportError:
            raise ConfigError("prune_channels needs torch-pruning; pip install torch-pruning") from None
        except Exception as error:  # torch-pruning raises what its parts raise
            raise ConfigError(
                f"prune_channels cannot follow the channels of {type(network).__name__} ({error!r}); leave it out"
            ) from None
        if not groups:
            raise ConfigError(f"prune_channels finds no channels to remove in {type(network).__name__}; leave it out")

    def apply(self, task: Task, workshop: Workshop) -> Sequence[Edit]:
        """Prune in rounds and recover after each; one edit over all rounds."""
        network = task.get_submodule("model")
        before = snapshot(network)
        inputs = network_inputs(task, next(iter(workshop.batches(1))))
        start = self._cost(network, inputs)
        told = [(count_parameters(network), multiply_adds(network, inputs))]
        sizes: dict[str, int] = {}
        for number in range(1, self.iterations + 1):
            # Each round leaves the same share of what it found.
            target = start * (1 - self.ratio) ** (number / self.iterations)
            self._round(task, workshop, inputs, target, sizes)
            last = number == self.iterations
            duration = self.recover if last else self.recover_between
            if duration is not None:
                workshop.recover(task, duration, part="recover" if last else f"round{number}")
        told.append((count_parameters(network), multiply_adds(network, inputs)))
        _tell(workshop, told)
        removed = 1 - self._cost(network, inputs) / start
        if removed < self.ratio - 1e-9:
            workshop.warn(
                f"prune_channels removed {removed:.1%} of the {self.of} and not {self.ratio:.1%}: no layer may fall "
                f"below {self.round_to} channels (round_to) or lose more than {self.max_per_layer:.0%} (max_per_layer)"
            )
        return [shapes_edit(before, network)]

    def _round(
        self, task: Task, workshop: Workshop, inputs: Sequence[Tensor], target: float, sizes: dict[str, int]
    ) -> None:
        """Prune until the network costs no more than the target; `sizes` keeps the numbers of channels at first."""
        network = task.get_submodule("model")
        with all_trained(network):
            groups = channel_groups(network, inputs)
            plan = Plan(
                groups=groups,
                importance=self._measure(task, workshop, groups),
                costs=layer_costs(network, inputs, groups, self.of),
                initial=[sizes.setdefault(group.name, group.size) for group in groups],
                max_per_layer=self.max_per_layer,
                round_to=self.round_to,
                scope=self.scope,
            )
            chosen = plan.choose(self._cost(network, inputs), target)
            for group, channels in zip(groups, chosen, strict=True):
                if channels:
                    group.remove(channels)

    def _measure(self, task: Task, workshop: Workshop, groups: list[ChannelGroup]) -> list[Tensor]:
        if self.importance == "taylor":
            return kinds.taylor(task, workshop.batches(self.samples, BATCH), groups)
        measure = kinds.magnitude if self.importance == "magnitude" else kinds.group_norm
        return [values / values.mean().clamp(min=1e-30) for values in measure(groups)]  # layers differ in their scale

    def _cost(self, network: nn.Module, inputs: Sequence[Tensor]) -> int:
        return count_parameters(network) if self.of == "parameters" else multiply_adds(network, inputs)


def _patches(convolution: nn.Conv2d) -> bool:
    """Tell whether a convolution cuts pictures into patches: as wide as it steps."""
    return convolution.kernel_size == convolution.stride and convolution.kernel_size != (1, 1)


def _tell(workshop: Workshop, told: Sequence[tuple[int, int]]) -> None:
    (parameters, operations), (parameters_now, operations_now) = told
    workshop.say(
        f"channels pruned: {parameters:,} -> {parameters_now:,} parameters ({parameters / parameters_now:.1f}x fewer), "
        f"{operations:,} -> {operations_now:,} multiply-adds ({operations / operations_now:.1f}x fewer)"
    )
