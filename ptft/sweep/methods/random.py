"""Random search: points drawn evenly (Bergstra and Bengio, JMLR 13, 2012); none twice where the space is countable."""

from ptft.sweep.methods.method import Method, known
from ptft.sweep.space import Params
from ptft.sweep.trial import History


class Random(Method):
    """Draws each point by its number alone, so that the order in which trials end changes nothing."""

    def propose(self, history: History) -> Params:
        """Return a point drawn at random."""
        return self.space.draw_new(self.dice(len(history.points)), known(history))
