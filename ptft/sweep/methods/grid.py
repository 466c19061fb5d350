"""Grid: every combination of the values, in Hydra's order."""

from functools import cached_property

from ptft.sweep.methods.method import Method
from ptft.sweep.space import Params
from ptft.sweep.trial import History


class Grid(Method):
    """Walks every combination; `trials` is how many there are."""

    @cached_property
    def _points(self) -> list[Params]:
        return self.space.grid()

    def propose(self, history: History) -> Params:
        """Return the next combination."""
        return self._points[len(history.points)]
