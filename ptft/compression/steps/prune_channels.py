"""Structured pruning of convolutional networks: whole channels are removed, so that any runtime is faster by it.

Channels are removed over several rounds with training between them, the least missed first, until the network costs as
little as asked for.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ptft.compression.channel_plan import Plan, layer_costs
from ptft.compression.channel_rounds import ChannelRounds, Progress, costs
from ptft.compression.channels import ChannelGroup
from ptft.compression.step import Workshop
from ptft.types import DurationText, PositiveInt, UnitFloat


class PruneChannels(ChannelRounds):
    """Removes channels until the network costs a share less; the outputs and the pictures' channels stay."""

    name = "prune_channels"
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
        super().__init__(
            importance=importance, iterations=iterations, recover_between=recover_between, recover=recover,
            samples=samples,
        )  # fmt: skip
        self.ratio, self.of, self.scope = ratio, of, scope
        self.round_to, self.max_per_layer = round_to, max_per_layer

    def choose(
        self, network: nn.Module, groups: Sequence[ChannelGroup], importance: Sequence[Tensor], progress: Progress
    ) -> list[list[int]]:
        """Return the channels to remove so that each round leaves the same share of what it found."""
        plan = Plan(
            groups=groups,
            importance=importance,
            costs=layer_costs(network, progress.inputs, groups, self.of),
            initial=[progress.sizes[group.name] for group in groups],
            max_per_layer=self.max_per_layer,
            round_to=self.round_to,
            scope=self.scope,
        )
        target = progress.first[self.of] * (1 - self.ratio) ** progress.share
        return plan.choose(costs(network, progress.inputs)[self.of], target)

    def finish(self, network: nn.Module, progress: Progress, workshop: Workshop) -> None:
        """Warn if the ratio was not reached."""
        removed = 1 - costs(network, progress.inputs)[self.of] / progress.first[self.of]
        if removed < self.ratio - 1e-9:
            workshop.warn(
                f"prune_channels removed {removed:.1%} of the {self.of} and not {self.ratio:.1%}: no layer may fall "
                f"below {self.round_to} channels (round_to) or lose more than {self.max_per_layer:.0%} (max_per_layer)"
            )
