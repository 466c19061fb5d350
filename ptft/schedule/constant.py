"""A constant learning rate."""

from ptft.schedule.schedule import Schedule


class Constant(Schedule):
    """The learning rate as it is set."""

    def factor(self, progress: float, step: int) -> float:
        """Return 1."""
        return 1.0
