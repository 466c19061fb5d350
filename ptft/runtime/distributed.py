"""This process among others: a world of one for now, with the calls that a larger one will answer.

The engine sums counts and losses through `World.sum`, so that an update over several ranks equals one big batch.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class World:
    """The number of this process and how many there are."""

    rank: int = 0
    size: int = 1

    def sum(self, value: int | Tensor) -> int | Tensor:
        """Return the sum of a value over all ranks; of one rank it is the value itself."""
        return value
