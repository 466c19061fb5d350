"""McNemar's test (1947), exact: are two classifiers, judged on the same examples, right equally often?

Examples that both get right, or both wrong, say nothing about which one is better. Of the others each favours one side;
if the two were equally good, which side would be a toss of a fair coin. The p-value is the chance that so many
tosses fall at least as unevenly, both ways counted (a two-sided binomial test).
"""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PairedCounts:
    """How two classifiers fared on the same examples.

    Attributes:
        both: Examples that both got right.
        only_first: Those that only the first got right.
        only_second: Those that only the second got right.
        neither: Those that both got wrong.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: Tensor, second: Tensor) -> "PairedCounts":
        """Count examples by what was right: (N,) bool for each side.

        Raises:
            ValueError: They are not of one shape.
        """
        if first.shape != second.shape:
            raise ValueError(f"expected as many examples on both sides, found {len(first)} and {len(second)}")
        counts = (first & second, first & ~second, ~first & second, ~first & ~second)
        return cls(*(int(count.sum()) for count in counts))

    @property
    def p_value(self) -> float:
        """Chance of a split at least as uneven if both were equally good, 0 to 1; 1 where they never differ."""
        return exact_p_value(self.only_first, self.only_second)


def exact_p_value(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of a fair coin that fell `only_first` times one way and `only_second` the other."""
    tosses, fewer = only_first + only_second, min(only_first, only_second)
    if tosses == 0:
        return 1.0
    # Logarithms: the binomial coefficients of some thousand tosses are no floats any more.
    terms = [
        math.lgamma(tosses + 1) - math.lgamma(count + 1) - math.lgamma(tosses - count + 1) - tosses * math.log(2)
        for count in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(term) for term in terms))
