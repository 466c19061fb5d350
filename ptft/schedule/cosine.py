"""A learning rate that falls along half a cosine, without restarts (arXiv 1608.03983)."""

import math

from ptft.schedule.schedule import Schedule
from ptft.types import UnitFloat


class Cosine(Schedule):
    """Half a cosine from the full learning rate to a share of it."""

    def __init__(self, *, min_factor: UnitFloat = 0.0) -> None:
        """Set the share of the learning rate that is left at the last step."""
        self.min_factor = min_factor

    def factor(self, progress: float, step: int) -> float:
        """Return the point of the cosine at `progress`."""
        return self.min_factor + (1 - self.min_factor) * (1 + math.cos(math.pi * progress)) / 2
