"""ASHA: many trials begin, the best of each rung go on, none waits for others (Li and others, arXiv 1810.05934).

A point is trained to the first rung, a share of a whole training. Whenever there is room, a point among the best
1/reduction of a rung goes on to the next from its own checkpoint; where there is none, a new point begins. The length
of the training, and with it the learning rate of each step, stays that of a whole one.
"""

from ptft.sweep.methods.method import Method, Step, known
from ptft.sweep.space import Params, Space
from ptft.sweep.trial import History, Point


class Asha(Method):
    """Promotes the best of each rung; the others stay where they are."""

    def __init__(self, space: Space, trials: int, *, seed: int = 0, reduction: int = 3, rungs: int = 3) -> None:
        """Set what is searched and how trials are stopped.

        Args:
            space: The space.
            trials: How many points begin.
            seed: Of what is drawn.
            reduction: One of so many goes on at each rung, and trains as many times longer.
            rungs: How many rungs there are; the first is `reduction ** (1 - rungs)` of a whole training.
        """
        super().__init__(space, trials, seed=seed)
        self.reduction = reduction
        self.shares = tuple(reduction ** -float(rungs - 1 - rung) for rung in range(rungs))

    def propose(self, history: History) -> Params:
        """Return a point drawn at random."""
        return self.space.draw_new(self.dice(len(history.points)), known(history))

    def next(self, history: History) -> Step | None:
        """Return a promotion where there is one, from the highest rung down, else a new point."""
        for rung in range(len(self.shares) - 2, -1, -1):
            if (point := self._promotable(history, rung)) is not None:
                return Step(point.number, point.params, rung + 1)
        return super().next(history)

    def _promotable(self, history: History, rung: int) -> Point | None:
        """Return the best point that has not left a rung, if it is among the best 1/reduction that reached it."""
        reached = [point for point in history.points if point.values(rung) is not None]
        reached.sort(key=lambda point: (-history.score(point, rung), point.number))
        best = reached[: len(reached) // self.reduction]
        return next((point for point in best if point.rung == rung and point.state == "done"), None)
