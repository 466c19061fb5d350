"""The contract of a method: it looks at what is known and says what to run next.

A method keeps nothing: what it answers follows from the history, its settings and the number of the point alone, so
that a sweep that was killed goes on as if it had not been.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ptft.sweep.space import Params, Space
from ptft.sweep.trial import History


@dataclass(frozen=True)
class Step:
    """What to run next.

    Attributes:
        point: The number of the point: a new one, or one that goes on.
        params: Its values.
        rung: How far it goes.
    """

    point: int
    params: Params
    rung: int = 0


class Method(ABC):
    """Chooses the points of a sweep.

    Attributes:
        space: What is searched.
        trials: How many points there are in all.
        shares: How much of a whole training each rung is, ascending; the last is 1.
    """

    def __init__(self, space: Space, trials: int, *, seed: int = 0) -> None:
        """Set what is searched.

        Args:
            space: The space.
            trials: How many points to try.
            seed: Of what is drawn.
        """
        self.space = space
        self.trials = trials
        self.seed = seed
        self.shares: tuple[float, ...] = (1.0,)

    @abstractmethod
    def propose(self, history: History) -> Params:
        """Return the values of the next new point; its number is `len(history.points)`."""

    def next(self, history: History) -> Step | None:
        """Return what to run next; None: nothing, or nothing before something that runs has ended."""
        number = len(history.points)
        return Step(number, self.propose(history)) if number < self.trials else None

    def dice(self, number: int) -> random.Random:
        """Return the random numbers of a point: the same however often the sweep was stopped."""
        return random.Random(f"{self.seed}/{number}")


def known(history: History) -> Sequence[Params]:
    """Return the values of all points so far."""
    return [point.params for point in history.points]
