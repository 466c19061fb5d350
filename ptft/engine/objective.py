"""The objective: which metric decides what is best, and when training no longer gets better."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ptft.engine.settings import EarlyStoppingSettings
from ptft.errors import ConfigError
from ptft.task.task import MetricSpec


@dataclass(frozen=True)
class Objective:
    """A metric of a split and its direction, written `val/accuracy:max`."""

    split: str
    metric: MetricSpec

    @classmethod
    def parse(cls, text: str | None, headline: MetricSpec, split: str = "val") -> "Objective":
        """Read `val/accuracy:max`; None is the task's headline on the validation split.

        Raises:
            ConfigError: The text is no objective, chooses on the test split, or names a metric without a direction.
        """
        if text is None:
            return cls(split, headline)
        name, _, mode = text.partition(":")
        split, _, metric = name.partition("/")
        if not split or not metric or mode not in ("", "max", "min"):
            raise ConfigError(f"objective={text}: expected the form val/accuracy:max")
        if split == "test":
            raise ConfigError(f"objective={text}: the test split is read once, at the end; choose by val/{metric}")
        if metric == headline.name and mode in ("", headline.mode):
            return cls(split, headline)
        if not mode:
            raise ConfigError(f"objective={text}: is more or less better? write {text}:max or {text}:min")
        direction: Literal["max", "min"] = "max" if mode == "max" else "min"
        return cls(split, MetricSpec(metric, direction))

    def __str__(self) -> str:
        return f"{self.split}/{self.metric.name}"


class Tracker:
    """The best value so far and its step, and the evaluations since then.

    A value that is not a number is never the best; of equal values the earliest stays.
    """

    def __init__(self, objective: Objective, early_stopping: EarlyStoppingSettings | None) -> None:
        self.objective = objective
        self.early_stopping = early_stopping
        self.best: float | None = None
        self.best_step: int | None = None
        self.best_metrics: dict[str, float] = {}
        self.reference: float | None = None
        self.waited = 0
        self.should_stop = False

    def observe(self, metrics: Mapping[str, float], step: int) -> bool:
        """See the metrics of an evaluation and tell whether they are the best so far.

        Raises:
            ConfigError: The objective is not among the metrics.
        """
        name = self.objective.metric.name
        if name not in metrics:
            there = ", ".join(sorted(metrics))
            raise ConfigError(f"objective {self.objective}: there is no such metric; this task gives: {there}")
        value = metrics[name]
        is_best = self._better(value, self.best, 0.0)
        if is_best:
            self.best, self.best_step, self.best_metrics = value, step, dict(metrics)
        self._wait(value)
        return is_best

    def _wait(self, value: float) -> None:
        """Count evaluations that were no real gain over the last one that was."""
        if self.early_stopping is None:
            return
        if self._better(value, self.reference, self.early_stopping.min_delta):
            self.reference, self.waited = value, 0
        else:
            self.waited += 1
        self.should_stop = self.waited >= self.early_stopping.patience

    def _better(self, new: float, old: float | None, margin: float) -> bool:
        if math.isnan(new):
            return False
        if old is None:
            return True
        return self.objective.metric.better(new, old + (margin if self.objective.metric.mode == "max" else -margin))

    def forget_best(self) -> None:
        """Forget the best value, whose weights are lost: the next one is the best again."""
        self.best, self.best_step, self.best_metrics = None, None, {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        keys = ("best", "best_step", "best_metrics", "reference", "waited", "should_stop")
        return {key: getattr(self, key) for key in keys}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned; with more patience than before, training goes on."""
        for key, value in state.items():
            setattr(self, key, value)
        self.should_stop = self.early_stopping is not None and self.waited >= self.early_stopping.patience
