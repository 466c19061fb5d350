"""Bayesian search by tree-structured Parzen estimators, from Optuna (Bergstra and others, 2011; arXiv 2304.11127).

Optuna keeps nothing of ours: before each point its study is made again from what is known, in memory. Points that run
count as bad ones (constant liar), so that trials side by side do not all try the same.
"""

import math
import warnings
from typing import Any

from ptft.sweep.methods.method import Method, known
from ptft.sweep.space import Choice, Dimension, Interval, Params, Space, first_new
from ptft.sweep.trial import History, Point


class Tpe(Method):
    """Draws where good points were denser than bad ones; with several objectives, near the front."""

    def __init__(self, space: Space, trials: int, *, seed: int = 0, startup: int = 10) -> None:
        """Set what is searched.

        Args:
            space: The space.
            trials: How many points to try.
            seed: Of what is drawn.
            startup: How many points are drawn at random first.
        """
        super().__init__(space, trials, seed=seed)
        self.startup = startup

    def propose(self, history: History) -> Params:
        """Return a point that looks better than those before."""
        number = len(history.points)
        dice = self.dice(number)
        if number < self.startup or not history.modes:
            return self.space.draw_new(dice, known(history))
        found = first_new(lambda: self._ask(history, dice.getrandbits(31)), known(history), most=10)
        return self.space.draw_new(dice, known(history)) if found in known(history) else found

    def _ask(self, history: History, seed: int) -> Params:
        study = study_of(self.space, history, seed=seed, startup=min(self.startup, len(history.points)))
        asked = study.ask({one.key: distribution(one) for one in self.space.dimensions})
        return {one.key: _text(one, asked.params[one.key]) for one in self.space.dimensions}


def study_of(space: Space, history: History, *, seed: int = 0, startup: int = 10) -> Any:
    """Return an Optuna study, in memory, of all points that have a value or run."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=len(history.modes) == 1
        )
        directions: list[Any] = ["maximize" if mode == "max" else "minimize" for mode in history.modes]
        study = optuna.create_study(directions=directions, sampler=sampler)
        study.add_trials([one for point in history.points if (one := _frozen(space, point)) is not None])
    return study


def _frozen(space: Space, point: Point) -> Any:
    """Return a point as Optuna keeps it; None for one that failed or has no finite value."""
    import optuna

    values = point.values()
    running = point.state in ("running", "waiting") and values is None
    if not running and (values is None or not all(map(math.isfinite, values))):
        return None
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING if running else optuna.trial.TrialState.COMPLETE,
        values=None if running else list(values or ()),
        params={one.key: _value(one, point.params[one.key]) for one in space.dimensions},
        distributions={one.key: distribution(one) for one in space.dimensions},
    )


def distribution(dimension: Dimension) -> Any:
    """Return Optuna's word for a dimension; of numbers in ascending order the place counts, as neighbours are alike."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Interval):
        if dimension.integer:
            return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if dimension.ordered:
        return IntDistribution(0, len(dimension.values) - 1)
    return CategoricalDistribution(dimension.values)


def _value(dimension: Dimension, text: str) -> Any:
    if isinstance(dimension, Choice):
        return dimension.values.index(text) if dimension.ordered else text
    return int(text) if dimension.integer else float(text)


def _text(dimension: Dimension, value: Any) -> str:
    if isinstance(dimension, Choice):
        return dimension.values[value] if dimension.ordered else str(value)
    return dimension.text(float(value))
