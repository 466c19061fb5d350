"""Channels of convolutional networks removed in rounds with training between them; a step says which go.

Layers whose channels hang together are found by torch-pruning (arXiv 2301.12900).
"""

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from ptft.compression import importance as kinds
from ptft.compression.channels import ChannelGroup, all_trained, channel_groups
from ptft.compression.cost import count_parameters, example_inputs, multiply_adds, network_inputs
from ptft.compression.step import Edit, NetworkStep, Workshop
from ptft.compression.structure import shapes_edit, snapshot
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.runtime.duration import Duration
from ptft.task.task import Task

BATCH = 32
"""Examples of a mini-batch whose gradient counts as one observation of the Taylor importance."""
Importance = Literal["taylor", "magnitude", "group_norm"]


@dataclass
class Progress:
    """Where the rounds stand.

    Attributes:
        inputs: Arguments of the network for one example.
        first: What the network cost before the first round: `parameters` and `multiply_adds`.
        share: Share of the rounds done once this one is, in (0, 1].
        sizes: Channels of each group before the first round, by its name.
    """

    inputs: Sequence[Tensor]
    first: Mapping[str, int]
    share: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)


class ChannelRounds(NetworkStep):
    """Removes channels of convolutions and linear layers; the outputs and the pictures' channels stay."""

    name: str
    """What a config calls the step."""

    def __init__(
        self,
        *,
        importance: Importance,
        iterations: int,
        recover_between: str | None,
        recover: str | None,
        samples: int,
    ) -> None:
        """Keep the settings.

        Args:
            importance: By what a channel is missed (`ptft.compression.importance`).
            iterations: Rounds.
            recover_between: Training after each round but the last; None: none.
            recover: Training after the last round; None: none.
            samples: Training examples that the Taylor importance is measured on.
        """
        self.importance, self.iterations, self.samples = importance, iterations, samples
        self.recover_between, self.recover = recover_between, recover

    def check_groups(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> None:
        """Find what the settings ask of a network that it cannot give.

        Raises:
            ConfigError: There is such a thing.
        """

    @abstractmethod
    def choose(
        self, network: nn.Module, groups: Sequence[ChannelGroup], importance: Sequence[Tensor], progress: Progress
    ) -> list[list[int]]:
        """Return the channels of each group that go in a round.

        Args:
            network: The network as the rounds before left it.
            groups: Its groups of channels.
            importance: By what each channel of each group is missed: (size,).
            progress: Where the rounds stand.
        """

    def finish(self, network: nn.Module, progress: Progress, workshop: Workshop) -> None:
        """Say what the rounds did not reach, if anything."""

    def check(self, task: Task, spec: DataSpec) -> None:
        """Trace a copy of the network.

        Raises:
            ConfigError: It is no convolutional network, one that cannot be traced, or one that the settings do not fit.
        """
        for text in (self.recover, self.recover_between):
            if text is not None:
                Duration.parse(text, f"compression.steps.{self.name}.recover")
        network = copy.deepcopy(task.get_submodule("model"))
        if not any(isinstance(m, nn.Conv2d) and not _patches(m) for m in network.modules()):
            raise ConfigError(
                f"{self.name} is for convolutional networks, and {type(network).__name__} has no convolutions but "
                "those that make patches; take compression steps for transformers, such as prune_heads"
            )
        try:
            with all_trained(network):
                groups = channel_groups(network, example_inputs(spec))
        except ImportError:
            raise ConfigError(f"{self.name} needs torch-pruning; pip install torch-pruning") from None
        except Exception as error:  # torch-pruning raises what its parts raise
            raise ConfigError(
                f"{self.name} cannot follow the channels of {type(network).__name__} ({error!r}); leave it out"
            ) from None
        if not groups:
            raise ConfigError(f"{self.name} finds no channels to remove in {type(network).__name__}; leave it out")
        self.check_groups(network, groups)

    def apply(self, task: Task, workshop: Workshop) -> Sequence[Edit]:
        """Prune in rounds and recover after each; one edit over all rounds."""
        network = task.get_submodule("model")
        before = snapshot(network)
        inputs = network_inputs(task, next(iter(workshop.batches(1))))
        progress = Progress(inputs, costs(network, inputs))
        for number in range(1, self.iterations + 1):
            progress.share = number / self.iterations
            self._round(task, workshop, progress)
            last = number == self.iterations
            duration = self.recover if last else self.recover_between
            if duration is not None:
                workshop.recover(task, duration, part="recover" if last else f"round{number}")
        _tell(workshop, progress.first, costs(network, inputs))
        self.finish(network, progress, workshop)
        return [shapes_edit(before, network)]

    def _round(self, task: Task, workshop: Workshop, progress: Progress) -> None:
        network = task.get_submodule("model")
        with all_trained(network):
            groups = channel_groups(network, progress.inputs)
            for group in groups:
                progress.sizes.setdefault(group.name, group.size)
            chosen = self.choose(network, groups, self._measure(task, workshop, groups), progress)
            for group, channels in zip(groups, chosen, strict=True):
                if channels:
                    group.remove(channels)

    def _measure(self, task: Task, workshop: Workshop, groups: list[ChannelGroup]) -> list[Tensor]:
        if self.importance == "taylor":
            return kinds.taylor(task, workshop.batches(self.samples, BATCH), groups)
        measure = kinds.magnitude if self.importance == "magnitude" else kinds.group_norm
        return [values / values.mean().clamp(min=1e-30) for values in measure(groups)]  # layers differ in their scale


def _patches(convolution: nn.Conv2d) -> bool:
    """Tell whether a convolution cuts pictures into patches: as wide as it steps."""
    return convolution.kernel_size == convolution.stride and convolution.kernel_size != (1, 1)


def costs(network: nn.Module, inputs: Sequence[Tensor]) -> dict[str, int]:
    """Return what a network costs: its `parameters`, and the `multiply_adds` of one pass of the inputs."""
    return {"parameters": count_parameters(network), "multiply_adds": multiply_adds(network, inputs)}


def _tell(workshop: Workshop, before: Mapping[str, int], now: Mapping[str, int]) -> None:
    told = [
        f"{before[what]:,} -> {now[what]:,} {word} ({before[what] / now[what]:.1f}x fewer)"
        for what, word in (("parameters", "parameters"), ("multiply_adds", "multiply-adds"))
    ]
    workshop.say(f"channels pruned: {', '.join(told)}")
