"""Structured pruning to numbers of channels that are given: for those who measured what their processor runs quickest.

The same number of multiply-adds takes unlike times: a loop over 16 channels may be as quick as one over 9.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ptft.compression.channel_plan import Queue
from ptft.compression.channel_rounds import ChannelRounds, Progress
from ptft.compression.channels import ChannelGroup
from ptft.errors import ConfigError
from ptft.types import DurationText, PositiveInt


class PruneToWidths(ChannelRounds):
    """Leaves the layers that are named the channels that are missed most, as many as are given."""

    name = "prune_to_widths"

    def __init__(
        self,
        *,
        widths: dict[str, int],
        importance: Literal["taylor", "magnitude", "group_norm"] = "taylor",
        iterations: PositiveInt = 3,
        recover_between: DurationText | None = "1ep",
        recover: DurationText | None = "5ep",
        samples: PositiveInt = 1024,
    ) -> None:
        """Keep the settings.

        Args:
            widths: How many channels layers shall have, by their names, such as `blocks.0.0: 8`; others keep theirs.
            importance: By what a channel is missed (`ptft.compression.importance`).
            iterations: Rounds; each leaves a layer the same share of what it found.
            recover_between: Training after each round but the last; null: none.
            recover: Training after the last round; null: none.
            samples: Training examples that the Taylor importance is measured on.

        Raises:
            ConfigError: There is no width, or one below 1.
        """
        super().__init__(
            importance=importance, iterations=iterations, recover_between=recover_between, recover=recover,
            samples=samples,
        )  # fmt: skip
        if not widths:
            raise ConfigError("prune_to_widths has no widths; give some, such as widths={blocks.0.0: 8}")
        for name, width in widths.items():
            if width < 1:
                raise ConfigError(f"prune_to_widths: widths.{name}={width}: expected a number of channels, 1 or more")
        self.widths = widths

    def check_groups(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> None:
        """Refuse widths of layers that there are not, or that cannot be.

        Raises:
            ConfigError: There is one.
        """
        owners = _owners(groups)
        given: dict[int, str] = {}
        for name, width in self.widths.items():
            if name not in owners:
                known = [layer for layer, _ in network.named_modules() if layer in owners]
                raise ConfigError(
                    f"prune_to_widths: widths names {name}, and the layers whose channels can go are {', '.join(known)}"
                )
            place = owners[name]
            other = given.setdefault(place, name)
            if self.widths[other] != width:
                raise ConfigError(
                    f"prune_to_widths: widths.{name}={width} and widths.{other}={self.widths[other]}: their channels "
                    "hang together; give one of them"
                )
            group = groups[place]
            if width > group.size or width % group.blocks:
                multiple = f", a multiple of {group.blocks}" if group.blocks > 1 else ""
                raise ConfigError(
                    f"prune_to_widths: widths.{name}={width}: the layer has {group.size} channels; expected no more"
                    f"{multiple}"
                )

    def choose(
        self, network: nn.Module, groups: Sequence[ChannelGroup], importance: Sequence[Tensor], progress: Progress
    ) -> list[list[int]]:
        """Return the channels to remove, the least missed of each layer."""
        queues = [Queue(group, values) for group, values in zip(groups, importance, strict=True)]
        for name, place in _owners(groups).items():
            if name not in self.widths:
                continue
            group, width, first = groups[place], self.widths[name], progress.sizes[groups[place].name]
            now = round(first * (width / first) ** progress.share / group.blocks) * group.blocks
            queues[place].taken = max(group.size - max(now, width), 0) // group.blocks
        return [queue.channels() for queue in queues]


def _owners(groups: Sequence[ChannelGroup]) -> dict[str, int]:
    """Return the place of the group that each convolution or linear layer writes channels of."""
    return {
        member.name: place
        for place, group in enumerate(groups)
        for member in group.members
        if member.side == "writes" and isinstance(member.module, nn.modules.conv._ConvNd | nn.Linear)
    }
