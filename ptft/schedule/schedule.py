"""The contract of a learning-rate schedule, and the warm-up that stands before each of them.

A schedule is a factor on every group's learning rate: a pure function of the step, so that resuming needs no state.
Only `plateau` looks at a metric and keeps state.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ptft.runtime.duration import Clock


class Schedule(ABC):
    """A factor on the learning rate; subclasses give `factor`."""

    def setup(self, clock: Clock) -> None:  # noqa: B027 - most schedules have nothing to set up
        """Turn durations into steps; `clock.max_steps` counts the steps after the warm-up."""

    @abstractmethod
    def factor(self, progress: float, step: int) -> float:
        """Return the factor at `progress`: 0 at the first step after the warm-up, 1 at the last step.

        `step` counts the steps since the warm-up.
        """

    def observe(self, value: float, is_better: bool) -> None:  # noqa: B027 - most schedules look at no metric
        """See the objective after an evaluation; `is_better` compares it with the best so far."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know; empty for a pure function of the step."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most schedules keep no state
        """Take back what `state_dict` returned."""


@dataclass
class WarmedUp:
    """A schedule behind a linear warm-up.

    Step `s` of `w` warm-up steps has the factor (s + 1) / w; the schedule starts at its full factor at step `w`.

    Attributes:
        schedule: The schedule after the warm-up.
        warmup_steps: Steps of the warm-up.
        max_steps: Steps of the whole training.
    """

    schedule: Schedule
    warmup_steps: int
    max_steps: int
    _last: int = field(init=False)

    def __post_init__(self) -> None:
        # The last step stands at progress 1; a single step stands at 0.
        self._last = max(1, self.max_steps - 1 - self.warmup_steps)

    def factor(self, step: int) -> float:
        """Return the factor of a step, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        since = step - self.warmup_steps
        return self.schedule.factor(min(1.0, since / self._last), since)
