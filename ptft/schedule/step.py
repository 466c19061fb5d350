"""A learning rate that falls in steps, as in the ResNet paper (arXiv 1512.03385)."""

from collections.abc import Sequence

from ptft.runtime.duration import Clock, Duration
from ptft.schedule.schedule import Schedule
from ptft.types import DurationText, PositiveFloat


class Step(Schedule):
    """The learning rate times `gamma` at each milestone."""

    def __init__(self, *, milestones: list[DurationText] = ["50%", "75%"], gamma: PositiveFloat = 0.1) -> None:  # noqa: B006
        """Set the times of the falls, counted from the end of the warm-up, and the factor of each."""
        self.durations: Sequence[Duration] = [Duration.parse(text, "schedule.milestones") for text in milestones]
        self.gamma = gamma
        self.milestones: list[int] = []

    def setup(self, clock: Clock) -> None:
        """Turn the milestones into steps."""
        self.milestones = [duration.steps(clock) for duration in self.durations]

    def factor(self, progress: float, step: int) -> float:
        """Return gamma to the power of the milestones passed."""
        return self.gamma ** sum(step >= milestone for milestone in self.milestones)
