"""TPE and ASHA beside random search, on recorded trainings: `python -m benchmarks.sweeps`, seconds.

What is replayed stands in `sweep_curves.json`: the loss on validation after each epoch, for every point of a space of
settings (`record_sweep_curves.py` says of what). The methods are those of `ptft/sweep/methods`, in simulated time.

TPE and random search get as many points. Regret is the loss above the lowest of the table; the area is the mean regret
of the best so far over all points tried, low where good points come early. A seed is a pair: TPE's first ten points are
those of random search.

ASHA has its goal from random search: the lowest of 60 whole trainings. Counted are the epochs that two workers train
until a point of ASHA's, trained whole, is as good. It is told for the very points of random search, which shows what
early stopping alone saves, and for points of its own, where luck counts too.
"""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, product
from pathlib import Path

from benchmarks.contest import Row, show
from benchmarks.simulate import simulate
from ptft.sweep.methods.asha import Asha
from ptft.sweep.methods.method import Method
from ptft.sweep.methods.random import Random
from ptft.sweep.methods.tpe import Tpe
from ptft.sweep.space import Choice, Params, Space

SEEDS, POINTS, WHOLE, WORKERS, REDUCTION = 10, 40, 60, 2, 3
AIM, LIMIT = 1 / 5, 1 / 3


@dataclass(frozen=True)
class Table:
    """Recorded trainings.

    Attributes:
        space: The settings and their values.
        curves: For the values of each point, the loss after each epoch; None where it is not finite.
    """

    space: Space
    curves: dict[tuple[str, ...], list[float | None]]

    @property
    def epochs(self) -> int:
        """How long a whole training is."""
        return len(next(iter(self.curves.values())))

    @property
    def lowest(self) -> float:
        """The lowest loss of all whole trainings."""
        return min(curve[-1] for curve in self.curves.values() if curve[-1] is not None)

    def look_up(self, params: Params, share: float) -> tuple[float, ...] | None:
        """Return the loss of a point after a share of a whole training."""
        loss = self.curves[tuple(params[one.key] for one in self.space.dimensions)][round(share * self.epochs) - 1]
        return None if loss is None else (loss,)


@cache
def table() -> Table:
    """Read what was recorded."""
    found = json.loads(Path(__file__).with_name("sweep_curves.json").read_text())
    space = Space(tuple(Choice(key, tuple(values)) for key, values in found["axes"].items()))
    return Table(space, dict(zip(product(*found["axes"].values()), found["val_loss"], strict=True)))


def bests(method: Method) -> list[float]:
    """Return the lowest loss so far after each point of a search by whole trainings, one after the other."""
    known = table()
    ended = simulate(method, lambda params, _: known.look_up(params, 1.0))
    return list(accumulate((landed.trial.values.get(0, (math.inf,))[0] for landed in ended), min))


# --- TPE --------------------------------------------------------------------------------------------------------------


def tpe_rows() -> list[Row]:
    """(l) TPE beside random search with as many points."""
    section = f"(l) search: {POINTS} of {len(table().curves)} trainings, nats / 1000"
    lowest, space = table().lowest, table().space
    kinds = {"random": Random, "tpe": Tpe}
    runs = {name: [bests(kind(space, POINTS, seed=seed)) for seed in range(SEEDS)] for name, kind in kinds.items()}
    rows = []
    measures: dict[str, Callable[[list[float]], float]] = {"regret": lambda run: run[-1], "area": statistics.fmean}
    for what, measure in measures.items():
        found = {name: [1e3 * (measure(run) - lowest) for run in own] for name, own in runs.items()}
        chance = statistics.fmean(found["random"])
        for name, values in found.items():
            note = f"seeds {_seeds(values, 1)}" + (_paired(values, found["random"]) if name != "random" else "")
            mean = statistics.fmean(values)
            rows.append(Row(section, f"{what}, {name}, mean of {SEEDS} seeds", mean, "", mean / chance, note))
    return rows


def _paired(own: Sequence[float], other: Sequence[float]) -> str:
    """Tell how often a method is lower than another with the same seed, and how likely chance alone would do that."""
    from scipy.stats import wilcoxon

    signs = [a - b for a, b in zip(own, other, strict=True)]
    p = wilcoxon(signs, alternative="less").pvalue
    return (
        f"; lower in {sum(one < 0 for one in signs)}, equal in {sum(one == 0 for one in signs)} of {len(signs)}; "
        f"paired one-sided Wilcoxon p = {p:.4f}"
    )


# --- ASHA -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Race:
    """Epochs until random search's best was reached.

    Attributes:
        chance: Random search, to its end.
        first: Random search, until it found its best.
        whole: ASHA, until a point trained whole was as good.
        any_rung: ASHA, until a point was as good at any rung.
    """

    chance: float
    first: float
    whole: float
    any_rung: float


def race(seed: int, rungs: int, *, own_points: bool) -> Race:
    """Let ASHA reach what random search found; it may try all points of the table."""
    known = table()
    found = bests(Random(known.space, WHOLE, seed=seed))
    # The same seed draws the same points; 1000 more is a seed that no random search here has.
    own_seed = seed + 1000 if own_points else seed
    method = Asha(known.space, len(known.curves), seed=own_seed, reduction=REDUCTION, rungs=rungs)
    any_rung = whole = math.inf
    for landed in simulate(method, lambda params, rung: known.look_up(params, method.shares[rung]), workers=WORKERS):
        reached = landed.trial.values.get(landed.trial.rung)
        if reached is not None and reached[0] <= found[-1]:
            any_rung = min(any_rung, landed.trained)
            if landed.trial.rung == rungs - 1:
                whole = landed.trained
                break
    of_chance = [float(WHOLE), found.index(found[-1]) + 1.0]
    return Race(*(known.epochs * one for one in (*of_chance, whole, any_rung)))


def asha_rows() -> list[Row]:
    """(m) ASHA beside random search: epochs until it is as good."""
    section = f"(m) search: epochs to random's best of {WHOLE}, median"
    rows = [Row(section, "random", float(table().epochs * WHOLE), "", 1.0, "to its end")]
    for own_points, rungs in product((False, True), (3, 4)):
        races = [race(seed, rungs, own_points=own_points) for seed in range(SEEDS)]
        ratios = [one.whole / one.chance for one in races]
        note = (
            f"at most {LIMIT:.2f} wanted, {AIM:.2f} hoped for; seeds {_seeds(ratios, 2)}; "
            f"at any rung {statistics.median(one.any_rung / one.chance for one in races):.2f}; "
            f"of random's up to its best {statistics.median(one.whole / one.first for one in races):.2f}"
        )
        name = f"asha, {rungs} rungs, {'points of its own' if own_points else 'the same points'}"
        rows.append(
            Row(section, name, statistics.median(one.whole for one in races), "", statistics.median(ratios), note)
        )
    return rows


def _seeds(values: Sequence[float], digits: int) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def rows() -> list[Row]:
    """Both comparisons."""
    return [*tpe_rows(), *asha_rows()]


def main() -> None:
    show(rows())


if __name__ == "__main__":
    main()
