"""Which value of a setting wins, and whether it does for certain: paired by seed, each value at its best otherwise.

A value is judged by its best point, as it would be used. With the same seeds for every point the differences are
paired: what a seed's order or head does to all of them falls out.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ptft.sweep.space import Choice, Params, Space
from ptft.sweep.trial import History, Point, student_t


@dataclass(frozen=True)
class Contrast:
    """A value of a setting against the one that wins.

    Attributes:
        key: The setting.
        value: The value.
        params: The point at which it does best.
        mean: The mean of the objective there, over seeds.
        difference: Its mean difference to the winner, paired by seed; None for the winner.
        interval: The 95% t-interval of that; None for the winner, or with fewer than two common seeds.
    """

    key: str
    value: str
    params: Params
    mean: float
    difference: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def certain(self) -> bool | None:
        """Whether the interval excludes zero; None where there is none."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]


def compared_key(space: Space) -> str | None:
    """Return the setting whose values are compared: the first with values that are no numbers; None: there is none."""
    words = (one for one in space.dimensions if isinstance(one, Choice) and len(one.values) > 1 and not one.ordered)
    return next((one.key for one in words), None)


def contrasts(history: History, key: str) -> list[Contrast]:
    """Return the values of a setting, the winner first; empty unless two of them have a result.

    Args:
        history: The sweep.
        key: The setting.
    """
    best: dict[str, Point] = {}
    for point in history.ranked():
        best.setdefault(point.params[key], point)
    if len(best) < 2:
        return []
    (name, winner), *others = sorted(best.items(), key=lambda one: -history.score(one[1]))
    first = Contrast(key, name, winner.params, _mean(winner))
    return [first, *(_against(winner, value, point, key) for value, point in others)]


def _against(winner: Point, value: str, point: Point, key: str) -> Contrast:
    ours, theirs = _by_seed(point), _by_seed(winner)
    differences = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    middle = statistics.fmean(differences) if differences else None
    return Contrast(key, value, point.params, _mean(point), middle, _interval(differences))


def _interval(differences: Sequence[float]) -> tuple[float, float] | None:
    if len(differences) < 2:
        return None
    middle = statistics.fmean(differences)
    half = student_t(len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    return middle - half, middle + half


def _by_seed(point: Point) -> dict[int, float]:
    rung = point.rung
    return {t.seed: t.values[rung][0] for t in point.trials if t.state != "failed" and rung in t.values}


def _mean(point: Point) -> float:
    values = point.values()
    assert values is not None, "only points with a value are ranked"
    return values[0]
