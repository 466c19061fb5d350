"""What is known of a sweep: trials, the points they belong to, and how their values compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ptft.sweep.space import Params

State = Literal["waiting", "running", "done", "failed"]
"""Waiting: to be run, or to be gone on with. Done: at its rung; a method may let it go on."""


@dataclass(frozen=True)
class Measured:
    """A value that trials are compared by.

    Attributes:
        name: The metric with its split, `val/accuracy`.
        mode: Whether more (`max`) or less (`min`) is better.
        value: What was found.
    """

    name: str
    mode: str
    value: float


@dataclass(kw_only=True)
class Trial:
    """One run of a sweep.

    Attributes:
        number: Its number and the name of its folder, from 0.
        point: The number of the point it belongs to.
        seed: Which of the point's seeds it has, from 0.
        params: The values it has of the settings searched.
        rung: How far it goes, as a place among the method's shares of a whole training.
        state: Where it stands.
        values: What it reached at each rung, a value an objective.
        reason: Why it failed, in a few words.
        error: What it said when it failed.
        attempts: How often it was started.
        seconds: How long it ran, all attempts together.
    """

    number: int
    point: int
    seed: int
    params: Params
    rung: int = 0
    state: State = "waiting"
    values: dict[int, tuple[float, ...]] = field(default_factory=dict)
    reason: str | None = None
    error: str | None = None
    attempts: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Point:
    """A choice of values and its trials, one a seed.

    Attributes:
        number: Its number, from 0.
        trials: Its trials.
    """

    number: int
    trials: tuple[Trial, ...]

    @property
    def params(self) -> Params:
        """The values chosen."""
        return self.trials[0].params

    @property
    def rung(self) -> int:
        """The rung its trials go to."""
        return max(trial.rung for trial in self.trials)

    @property
    def state(self) -> State:
        """Failed if all its trials did; done if each has ended."""
        states = {trial.state for trial in self.trials}
        for state in ("running", "waiting"):
            if state in states:
                return "running" if state == "running" or len(states) > 1 else "waiting"
        return "failed" if states == {"failed"} else "done"

    def values(self, rung: int | None = None) -> tuple[float, ...] | None:
        """Return the mean over seeds of each objective at a rung, the last by default; None before all have ended.

        Trials that failed are left out.
        """
        from statistics import fmean

        found = self._found(rung)
        return tuple(fmean(column) for column in zip(*found, strict=True)) if found else None

    def interval(self) -> tuple[float, float] | None:
        """Return the 95% t-interval of the first objective's mean over seeds; None with fewer than two."""
        found = [values[0] for values in self._found(None)]
        if len(found) < 2:
            return None
        from statistics import fmean, stdev

        middle = fmean(found)
        half = student_t(len(found) - 1) * stdev(found) / math.sqrt(len(found))
        return middle - half, middle + half

    def _found(self, rung: int | None) -> list[tuple[float, ...]]:
        """Return what each trial that did not fail reached at a rung; nothing while one of them has not."""
        place = self.rung if rung is None else rung
        good = [trial for trial in self.trials if trial.state != "failed"]
        found = [trial.values[place] for trial in good if place in trial.values]
        return found if len(found) == len(good) else []


@dataclass(frozen=True)
class History:
    """All that a method may look at.

    Attributes:
        points: Every point, those running too.
        modes: `max` or `min` for each objective; empty before anything is known.
    """

    points: tuple[Point, ...]
    modes: tuple[str, ...]

    def score(self, point: Point, rung: int | None = None) -> float:
        """Return the first objective of a point so that more is better; minus infinity where there is none."""
        values = point.values(rung)
        if values is None or not self.modes or math.isnan(values[0]):
            return -math.inf
        return values[0] if self.modes[0] == "max" else -values[0]

    def ranked(self) -> list[Point]:
        """Return the points that have a value: those that went furthest first, among them the best first."""
        found = [point for point in self.points if self.score(point) > -math.inf]
        return sorted(found, key=lambda point: (-point.rung, -self.score(point), point.number))

    def front(self) -> list[Point]:
        """Return the points that no other is as good as in every objective and better in one, best first."""
        ranked = self.ranked()
        signs = [1 if mode == "max" else -1 for mode in self.modes]
        scores = {p.number: tuple(s * v for s, v in zip(signs, p.values() or (), strict=True)) for p in ranked}

        def beaten(point: Point) -> bool:
            own = scores[point.number]
            return any(
                other != own and all(a >= b for a, b in zip(other, own, strict=True)) for other in scores.values()
            )

        return [point for point in ranked if not beaten(point)]


def history_of(trials: Sequence[Trial], modes: Sequence[str]) -> History:
    """Return what a method may look at, given all trials."""
    grouped: dict[int, list[Trial]] = {}
    for trial in trials:
        grouped.setdefault(trial.point, []).append(trial)
    return History(tuple(Point(number, tuple(own)) for number, own in sorted(grouped.items())), tuple(modes))


def student_t(freedom: int) -> float:
    """Return the 97.5% quantile of Student's t distribution."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
