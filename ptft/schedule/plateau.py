"""A learning rate that falls when the objective no longer gets better."""

from collections.abc import Mapping
from typing import Any

from ptft.schedule.schedule import Schedule
from ptft.types import NonNegativeInt, PositiveFloat, UnitFloat


class Plateau(Schedule):
    """The learning rate times `gamma` after more than `patience` evaluations without a better objective."""

    def __init__(
        self, *, gamma: PositiveFloat = 0.1, patience: NonNegativeInt = 2, min_factor: UnitFloat = 0.0
    ) -> None:
        """Set the factor of each fall, the evaluations to wait for, and the smallest factor."""
        self.gamma = gamma
        self.patience = patience
        self.min_factor = min_factor
        self.current = 1.0
        self.bad_evaluations = 0

    def factor(self, progress: float, step: int) -> float:
        """Return the factor reached so far."""
        return self.current

    def observe(self, value: float, is_better: bool) -> None:
        """Count evaluations without a better objective and fall when there are too many."""
        self.bad_evaluations = 0 if is_better else self.bad_evaluations + 1
        if self.bad_evaluations > self.patience:
            self.current = max(self.min_factor, self.current * self.gamma)
            self.bad_evaluations = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the factor reached and the evaluations counted."""
        return {"current": self.current, "bad_evaluations": self.bad_evaluations}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back the factor and the count."""
        self.current = float(state["current"])
        self.bad_evaluations = int(state["bad_evaluations"])
