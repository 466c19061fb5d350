"""What is best, which step, and when to stop: against tables and a hand-written reference."""

import json
import math
import random

import pytest

from ptft.engine.objective import Objective, Tracker
from ptft.engine.settings import EarlyStoppingSettings
from ptft.errors import ConfigError
from ptft.task.task import MetricSpec

NAN, INF = float("nan"), float("inf")
ACCURACY, LOSS = MetricSpec("accuracy", "max"), MetricSpec("loss", "min")


def tracker(metric=ACCURACY, patience=None, min_delta=0.0):
    stopping = EarlyStoppingSettings(patience=patience, min_delta=min_delta) if patience else None
    return Tracker(Objective("val", metric), stopping)


def watch(values, **settings):
    """Return a tracker that has seen values at steps 10, 20, ..."""
    watching = tracker(**settings)
    for number, value in enumerate(values):
        watching.observe({watching.objective.metric.name: value}, 10 * (number + 1))
    return watching


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        (ACCURACY, [0.1, 0.5, 0.3], 20),
        (LOSS, [0.1, 0.5, 0.3], 10),
        (LOSS, [3.0, 2.0, 1.0], 30),
        (ACCURACY, [0.5, 0.5, 0.5], 10),
        (LOSS, [0.5, 0.5], 10),
        (ACCURACY, [NAN, 0.1, NAN], 20),
        (LOSS, [NAN, 5.0, NAN, 4.0, NAN], 40),
        (ACCURACY, [NAN, NAN], None),
        (LOSS, [INF, 1e30], 20),
        (ACCURACY, [-INF, -1.0], 20),
        (ACCURACY, [9.0, 10.0], 20),  # as numbers, not as text
        (ACCURACY, [0.0, -0.0], 10),
    ],
)
def test_the_best_value_and_its_step(metric, values, best):
    watching = watch(values, metric=metric)
    assert watching.best_step == best
    assert best is None or watching.best == values[best // 10 - 1] == watching.best_metrics[metric.name]


def test_the_best_of_random_streams_is_that_of_a_sorted_list():
    generator = random.Random(0)
    for _ in range(200):
        metric = generator.choice([ACCURACY, LOSS])
        values = [generator.choice([round(generator.random(), 1), NAN]) for _ in range(12)]
        sign = -1 if metric.mode == "max" else 1
        ranked = sorted((sign * value, number) for number, value in enumerate(values) if not math.isnan(value))
        assert watch(values, metric=metric).best_step == (10 * (ranked[0][1] + 1) if ranked else None)


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "stops_at"),
    [
        ([0.5, 0.4, 0.4, 0.4], 3, 0.0, 40),
        ([0.5, 0.4, 0.6, 0.5, 0.5], 2, 0.0, 50),
        ([0.5, 0.505, 0.509], 2, 0.01, 30),  # gains below min_delta do not count
        ([0.5, 0.505, 0.511, 0.511], 2, 0.01, None),  # but they add up
        ([NAN, NAN, 0.1], 2, 0.0, 20),
        ([0.1, 0.2, 0.3, 0.4], 1, 0.0, None),
    ],
)
def test_early_stopping_counts_evaluations_without_gain(values, patience, min_delta, stops_at):
    watching = tracker(patience=patience, min_delta=min_delta)
    stopped = None
    for number, value in enumerate(values):
        watching.observe({"accuracy": value}, 10 * (number + 1))
        if watching.should_stop and stopped is None:
            stopped = 10 * (number + 1)
    assert stopped == stops_at


def test_a_restored_tracker_goes_on_as_the_first_would():
    generator = random.Random(0)
    for cut in range(8):
        values = [generator.random() for _ in range(8)]
        whole, first, second = (tracker(patience=3, min_delta=0.05) for _ in range(3))
        for number, value in enumerate(values):
            whole.observe({"accuracy": value}, number)
            (first if number < cut else second).observe({"accuracy": value}, number)
            if number == cut - 1:
                second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        if cut:
            assert second.state_dict() == whole.state_dict()


def test_a_stopped_run_stays_stopped_unless_it_is_given_more_patience():
    stopped = watch([0.5, 0.4, 0.4], patience=2)
    for patience, should_stop in ((2, True), (1, True), (3, False), (None, False)):
        again = tracker(patience=patience)
        again.load_state_dict(stopped.state_dict())
        assert again.should_stop is should_stop


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ("val", "accuracy", "max")),
        ("val/accuracy", ("val", "accuracy", "max")),
        ("val/accuracy:max", ("val", "accuracy", "max")),
        ("val/accuracy:min", ("val", "accuracy", "min")),
        ("val/loss:min", ("val", "loss", "min")),
        ("train/a/b:max", ("train", "a/b", "max")),
    ],
)
def test_objectives_are_read(text, expected):
    objective = Objective.parse(text, ACCURACY)
    assert (objective.split, objective.metric.name, objective.metric.mode) == expected


@pytest.mark.parametrize("text", ["accuracy", "val/", "/accuracy", "val/accuracy:up", "val/loss", "", "test/accuracy"])
def test_what_is_no_objective_is_refused(text):
    with pytest.raises(ConfigError, match="objective="):
        Objective.parse(text, ACCURACY)


def test_a_metric_that_the_task_does_not_give_is_told_with_those_it_gives():
    with pytest.raises(ConfigError, match="no such metric; this task gives: f1, loss"):
        tracker().observe({"loss": 1.0, "f1": 0.5}, 10)
