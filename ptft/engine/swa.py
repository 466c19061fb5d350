"""Stochastic weight averaging: the equal-weight mean of the weights at several moments (arXiv 1803.05407).

The moments are the ends of the periods `every` from `start` on, counted from the beginning of the training: with
`start: 75%, every: 1ep` of 10 epochs those after epoch 8, 9 and 10. It is what averaging the last checkpoints gives.
The paper computes batch-norm statistics anew for the mean, by a pass over the data; here they are averaged too.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ptft.engine.average import Average
from ptft.engine.cadence import Cadence
from ptft.engine.settings import SwaSettings
from ptft.runtime.duration import Clock, Duration


class Swa(Average):
    """The mean of a task's tensors at the moments seen so far.

    Args:
        task: The networks to follow.
        settings: When to begin, and how often to take the weights in.
        names: Names of the tensors to follow (those that a checkpoint saves).
        clock: What turns durations into steps.
        warn: Told when no moment lies within the training.
    """

    def __init__(
        self, task: nn.Module, settings: SwaSettings, names: set[str], clock: Clock, warn: Callable[[str], None]
    ) -> None:
        super().__init__(task, names)
        self.start = Duration.parse(settings.start, "engine.swa.start").steps(clock)
        self.cadence = Cadence(settings.every, clock, "engine.swa.every")
        self.count = 0
        first = self.cadence.next_due(max(self.start - 1, 0))
        if first > (clock.max_steps or 0):
            warn(
                f"engine.swa averages nothing: its first moment is step {first}, the training ends at "
                f"{clock.max_steps}; lower engine.swa.every or engine.swa.start"
            )

    @property
    def started(self) -> bool:
        """Whether a moment has come."""
        return self.count > 0

    def update(self, step: int) -> None:
        """Take the weights in if a moment ends with step number `step` (from 0)."""
        if step + 1 >= self.start and self.cadence.due(step + 1):
            self.move(1 / (self.count + 1))
            self.count += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the mean and how many it is of; empty while there is none."""
        return {**super().state_dict(), "count": self.count} if self.started else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        super().load_state_dict(state)
        self.count = int(state.get("count", 0))
