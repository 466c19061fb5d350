"""The types a config value can have, with their ranges: one annotation for the reader, mypy and the check at the door.

A component writes `lr: PositiveFloat` after the `*` of its signature; the check reads that name from the source and
refuses `optimizer.lr=-1` before torch is imported.
"""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values a number may take; a missing bound is open.

    `above` and `below` are exclusive bounds, `least` and `most` inclusive ones.
    """

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        bounds = [(">", self.above), (">=", self.least), ("<", self.below), ("<=", self.most)]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


PositiveInt = Annotated[int, Range(least=1)]
NonNegativeInt = Annotated[int, Range(least=0)]
Seed = Annotated[int, Range(least=0, below=2**63)]
"""A seed: what torch takes as one, without the negative numbers."""
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(least=0)]
UnitFloat = Annotated[float, Range(least=0, most=1)]
"""A share or a probability: 0 to 1, both included."""
PositiveShare = Annotated[float, Range(above=0, most=1)]
"""A share of something that must not be nothing: 0 excluded, 1 included."""
ProperShare = Annotated[float, Range(above=0, below=1)]
"""A share that must leave something over: 0 and 1 excluded."""
Decay = Annotated[float, Range(least=0, below=1)]
"""The share of a running mean that stays at each step: 0 included, 1 excluded."""
DropRate = Annotated[float, Range(least=0, below=1)]
"""A drop-out probability or a smoothing weight: 0 included, 1 excluded."""
HueShift = Annotated[float, Range(least=0, most=0.5)]
"""A turn of the colour circle either way: half a turn reaches every hue."""
Magnitude = Annotated[float, Range(least=0, most=30)]
"""The strength of RandAugment's operations."""
DurationText = Annotated[str, "duration"]
"""`10ep`, `2000st`, `1e6ex` or `5%`: see `runtime/duration.py`."""
