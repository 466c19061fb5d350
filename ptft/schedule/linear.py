"""A learning rate that falls along a line; with a long warm-up this is the triangle of arXiv 1708.07120."""

from ptft.schedule.schedule import Schedule
from ptft.types import UnitFloat


class Linear(Schedule):
    """A line from the full learning rate to a share of it."""

    def __init__(self, *, min_factor: UnitFloat = 0.0) -> None:
        """Set the share of the learning rate that is left at the last step."""
        self.min_factor = min_factor

    def factor(self, progress: float, step: int) -> float:
        """Return the point of the line at `progress`."""
        return 1 - progress * (1 - self.min_factor)
