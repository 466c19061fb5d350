"""What is known of a sweep: means and intervals over seeds, who is best, and which points no other beats."""

import math
import random

import pytest
from scipy.stats import t as student

from ptft.sweep.trial import History, Point, Trial, history_of, student_t


def trial(number=0, *, point=None, **changes):
    return Trial(number=number, **{"point": number if point is None else point, "seed": 0, "params": {}, **changes})


def done(number, *values, rung=0, **changes):
    """A trial that has reached these values, one a rung, the last at `rung`."""
    reached = {rung - len(values) + 1 + place: value for place, value in enumerate(values)}
    reached = {place: value if isinstance(value, tuple) else (value,) for place, value in reached.items()}
    return trial(number, state="done", rung=rung, values=reached, **changes)


def seeds(*values):
    """A point of one trial a value; None: it failed."""
    return Point(
        0,
        tuple(
            trial(seed, point=0, seed=seed, state="failed") if value is None else done(seed, value, point=0, seed=seed)
            for seed, value in enumerate(values)
        ),
    )


def numbers(points):
    return [point.number for point in points]


# --- A point ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("waiting",), "waiting"),
        (("running",), "running"),
        (("done",), "done"),
        (("failed",), "failed"),
        (("done", "done"), "done"),
        (("done", "failed"), "done"),
        (("failed", "failed"), "failed"),
        (("done", "running"), "running"),
        (("failed", "running"), "running"),
        (("waiting", "running"), "running"),
        (("waiting", "done"), "running"),
        (("waiting", "waiting"), "waiting"),
    ],
)
def test_the_state_of_a_point_follows_from_those_of_its_trials(states, expected):
    point = Point(0, tuple(trial(place, point=0, seed=place, state=one) for place, one in enumerate(states)))
    assert point.state == expected


def test_the_value_of_a_point_is_the_mean_over_its_seeds():
    assert seeds((0.5, 10.0), (0.7, 20.0), (0.9, 60.0)).values() == pytest.approx((0.7, 30.0))


def test_seeds_that_failed_do_not_count_and_a_point_has_no_value_before_the_others_have():
    assert seeds(0.5, None, 0.7).values() == pytest.approx((0.6,))
    assert seeds(None, None).values() is None
    running = Point(0, (done(0, 0.5, point=0), trial(1, point=0, seed=1, state="running")))
    assert running.values() is None and running.interval() is None


def test_what_a_failed_seed_reached_at_an_earlier_rung_does_not_count_either():
    failed = trial(1, point=0, seed=1, state="failed", rung=1, values={0: (9.0,)})
    assert Point(0, (done(0, 0.5, 0.6, rung=1, point=0), failed)).values(0) == (0.5,)


def test_a_point_has_the_values_of_each_rung_it_reached_and_by_default_those_of_the_last():
    point = Point(0, (done(0, 0.3, 0.5, 0.4, rung=2),))
    assert [point.values(rung) for rung in range(3)] == [(0.3,), (0.5,), (0.4,)]
    assert point.values() == (0.4,) and point.rung == 2


def test_a_point_on_its_way_to_a_rung_has_no_value_there():
    point = Point(0, (trial(0, state="running", rung=1, values={0: (0.3,)}),))
    assert point.values() is None and point.values(0) == (0.3,)


@pytest.mark.parametrize("values", [(0.5, 0.7), (0.91, 0.93, 0.92), (3.0, -1.0, 2.5, 7.25, 0.0)])
def test_the_interval_of_a_point_is_that_of_students_t(values):
    error = math.sqrt(sum((one - sum(values) / len(values)) ** 2 for one in values) / (len(values) - 1) / len(values))
    reference = student.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=error)
    assert seeds(*values).interval() == pytest.approx(reference)


def test_an_interval_needs_two_seeds_that_did_not_fail():
    assert seeds(0.5).interval() is None
    assert seeds(0.5, None).interval() is None
    assert seeds(0.5, None, 0.7).interval() == pytest.approx(seeds(0.5, 0.7).interval())


def test_the_quantile_is_that_of_a_printed_table():
    assert [round(student_t(freedom), 3) for freedom in (1, 2, 4, 30)] == [12.706, 4.303, 2.776, 2.042]


# --- A history --------------------------------------------------------------------------------------------------------


def test_trials_are_grouped_by_point_in_the_order_of_the_points():
    trials = [trial(0, point=0), trial(1, point=1), trial(2, point=0, seed=1), trial(3, point=1, seed=1)]
    history = history_of(trials, ["max"])
    assert [[one.number for one in point.trials] for point in history.points] == [[0, 2], [1, 3]]
    assert history.modes == ("max",)


@pytest.mark.parametrize(("mode", "score"), [("max", 0.5), ("min", -0.5)])
def test_more_is_better_in_a_score(mode, score):
    history = history_of([done(0, 0.5)], [mode])
    assert history.score(history.points[0]) == score


def test_a_point_without_a_value_scores_worst():
    history = history_of([trial(0, state="running"), done(1, math.nan), trial(2, state="failed")], ["min"])
    assert [history.score(point) for point in history.points] == [-math.inf] * 3
    assert history.ranked() == [] and history.front() == []
    assert history_of([done(0, 0.5)], []).ranked() == []


def test_points_that_went_furthest_rank_first_and_among_them_the_best():
    trials = [
        done(0, 0.9),
        done(1, 0.8, 0.7, rung=1),
        done(2, 0.1, 0.2, 0.3, rung=2),
        done(3, 0.6, 0.8, rung=1),
        done(4, 0.9),
        trial(5, state="failed", rung=2, values={0: (1.0,), 1: (1.0,)}),
        trial(6, state="running", rung=2, values={0: (1.0,), 1: (1.0,)}),
    ]
    assert numbers(history_of(trials, ["max"]).ranked()) == [2, 3, 1, 0, 4]
    assert numbers(history_of(trials, ["min"]).ranked()) == [2, 1, 3, 0, 4]


def brute_force(values, modes):
    """The places of what nothing dominates, by the definition."""

    def dominates(other, own):
        better = [a > b if mode == "max" else a < b for a, b, mode in zip(other, own, modes, strict=True)]
        as_good = [a >= b if mode == "max" else a <= b for a, b, mode in zip(other, own, modes, strict=True)]
        return all(as_good) and any(better)

    return {place for place, own in enumerate(values) if not any(dominates(other, own) for other in values)}


@pytest.mark.parametrize("modes", [("max", "max"), ("max", "min"), ("min", "min"), ("min", "max", "min"), ("max",)])
@pytest.mark.parametrize("grain", [4, 1000])  # few different values: many are equal
def test_the_front_is_what_nothing_dominates(modes, grain):
    dice = random.Random(f"{modes}/{grain}")
    for size in (1, 2, 5, 40):
        values = [tuple(float(dice.randrange(grain)) for _ in modes) for _ in range(size)]
        history = history_of([done(number, one) for number, one in enumerate(values)], modes)
        assert set(numbers(history.front())) == brute_force(values, modes)


def test_the_front_is_told_best_first():
    values = [(0.5, 1.0), (0.9, 9.0), (0.7, 3.0), (0.6, 8.0)]
    history = history_of([done(number, one) for number, one in enumerate(values)], ["max", "min"])
    assert numbers(history.front()) == [1, 2, 0]


def test_points_that_are_equal_in_all_are_both_in_the_front():
    history = history_of([done(0, (0.5, 1.0)), done(1, (0.5, 1.0)), done(2, (0.4, 1.0))], ["max", "min"])
    assert numbers(history.front()) == [0, 1]


def test_the_front_of_nothing_is_empty():
    assert History((), ()).front() == []
