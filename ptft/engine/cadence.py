"""Is it time? One helper for everything that happens every so often."""

import math

from ptft.runtime.duration import Clock, Duration


class Cadence:
    """A period in steps, epochs, examples or percent; it may be a broken number of steps.

    Args:
        text: The period, such as `1ep`.
        clock: What turns it into steps.
        key: The setting's name, for errors.
    """

    def __init__(self, text: str, clock: Clock, key: str) -> None:
        self.period = Duration.parse(text, key).period(clock)

    def due(self, step: int) -> bool:
        """Tell whether a period ended with the step that made `step` steps done; a period is at least one step."""
        return self._periods(step) > self._periods(step - 1)

    def _periods(self, step: int) -> int:
        # 22.46 steps an epoch: epoch 2 ends with step 45, the first at which 2 epochs are whole.
        return math.floor(step / self.period + 1e-9)

    def next_due(self, step: int) -> int:
        """Return the first number of steps after `step` at which a period ends."""
        return math.ceil((self._periods(step) + 1 - 1e-9) * self.period)
