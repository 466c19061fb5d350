"""TPE: what it proposes follows from the history alone, fits the space, and finds better points than chance."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.simulate import simulate
from ptft.sweep.methods.random import Random
from ptft.sweep.methods.tpe import Tpe, distribution, study_of
from ptft.sweep.space import Choice, Interval, Space, read_space
from ptft.sweep.trial import History, Trial, history_of

SQUARE = Space((Interval("x", -5.0, 5.0), Interval("y", 1e-4, 1.0, log=True)))
MIXED, _ = read_space(
    [
        "lr=tag(log,interval(1e-5,1e-1))",
        "depth=int(interval(1,8))",
        "width=int(tag(log,interval(8,512)))",
        "drop=0,0.1,0.5",
        "adapt=full,lora,last",
        "pool=2,1",
        "one=choice(x)",
    ]
)


def square(params, _=0):
    """A bowl with its lowest point at x = 1, y = 0.01."""
    return ((float(params["x"]) - 1) ** 2 + (math.log10(float(params["y"])) + 2) ** 2,)


def mixed(params, _=0):
    """Least for lr 1e-3, depth 5, width 64, drop 0.1, adapt lora."""
    return (
        (math.log10(float(params["lr"])) + 3) ** 2
        + abs(int(params["depth"]) - 5) / 4
        + abs(math.log2(int(params["width"])) - 6) / 3
        + (params["drop"] != "0.1")
        + {"full": 1.0, "lora": 0.0, "last": 2.0}[params["adapt"]],
    )


def best(method, objective, **more):
    return min(landed.trial.values[0][0] for landed in simulate(method, objective, **more))


def some_history(space=MIXED, objective=mixed, number=15, *, states=(), modes=("min",), seed=0):
    """A history of points drawn at random, the last of them in these states."""
    dice = random.Random(seed)
    trials = []
    for place in range(number):
        state = "done" if place < number - len(states) else states[place - number]
        params = space.draw(dice)
        values = {0: objective(params)} if state == "done" else {}
        trials.append(Trial(number=place, point=place, seed=0, params=params, state=state, values=values))
    return history_of(trials, modes)


def fits(params, space=MIXED):
    """Whether each value lies inside its dimension."""
    return list(params) == [one.key for one in space.dimensions] and all(
        params[one.key] in one.values if isinstance(one, Choice) else one.low <= float(params[one.key]) <= one.high
        for one in space.dimensions
    )


def propose(history, *, seed=0, space=MIXED):
    return Tpe(space, 100, seed=seed).propose(history)


# --- What it proposes -------------------------------------------------------------------------------------------------


def test_it_begins_as_random_search_does():
    trials, others = [], []
    list(simulate(Tpe(MIXED, 8, seed=3, startup=8), mixed, trials=trials))
    list(simulate(Random(MIXED, 8, seed=3), mixed, trials=others))
    assert [one.params for one in trials] == [one.params for one in others]


def test_it_goes_on_as_random_search_while_nothing_is_known():
    history = some_history(number=15, states=["running"] * 15, modes=())
    assert propose(history) == Random(MIXED, 100).propose(history)


def test_the_same_history_gives_the_same_point_and_another_seed_another():
    assert propose(some_history()) == propose(some_history())
    assert propose(some_history(), seed=1) != propose(some_history())


def test_another_process_proposes_the_same():
    root = Path(__file__).parents[3]
    code = "import json, tests.sweep.methods.test_tpe as t; print(json.dumps(t.propose(t.some_history())))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )  # fmt: skip
    assert json.loads(run.stdout) == propose(some_history())


def test_a_sweep_that_was_killed_goes_on_as_if_it_had_not_been():
    whole, trials = [], []
    list(simulate(Tpe(MIXED, 22), mixed, trials=whole))
    for place, _ in enumerate(simulate(Tpe(MIXED, 22), mixed, trials=trials)):
        if place == 14:
            break
    list(simulate(Tpe(MIXED, 22), mixed, trials=trials))
    assert [one.params for one in trials] == [one.params for one in whole]


def test_every_point_fits_a_space_of_all_kinds_and_none_comes_twice():
    trials = []
    list(simulate(Tpe(MIXED, 30), mixed, workers=3, trials=trials))
    assert len(trials) == 30 and all(fits(one.params) for one in trials)
    assert len({str(one.params) for one in trials}) == 30


def test_each_dimension_is_what_optuna_knows_of_its_kind():
    found = {one.key: distribution(one) for one in MIXED.dimensions}
    assert (found["lr"].low, found["lr"].high, found["lr"].log) == (1e-5, 1e-1, True)
    assert (found["depth"].low, found["depth"].high, found["depth"].log) == (1, 8, False)
    assert (found["width"].low, found["width"].high, found["width"].log) == (8, 512, True)
    assert (found["drop"].low, found["drop"].high) == (0, 2)  # places of ascending numbers
    assert found["adapt"].choices == ("full", "lora", "last")
    assert found["pool"].choices == ("2", "1")  # not ascending: words
    assert found["one"].choices == ("x",)


def test_optuna_is_told_every_value_as_it_was():
    history = some_history()
    study = study_of(MIXED, history)
    for told, point in zip(study.trials, history.points, strict=True):
        assert told.values == list(point.values())
        assert told.params["lr"] == float(point.params["lr"]) and told.params["depth"] == int(point.params["depth"])
        assert told.params["drop"] == ("0", "0.1", "0.5").index(point.params["drop"])
        assert told.params["adapt"] == point.params["adapt"]


@pytest.mark.parametrize(("mode", "direction"), [("max", "MAXIMIZE"), ("min", "MINIMIZE")])
def test_more_or_less_is_better_as_the_objective_says(mode, direction):
    assert study_of(MIXED, some_history(modes=(mode,))).direction.name == direction


# --- What else may stand in a history ---------------------------------------------------------------------------------


def test_failed_points_are_left_out_and_running_ones_are_told_as_such():
    states = ["failed", "running", "waiting", "running"]
    history = some_history(number=20, states=states)
    told = study_of(MIXED, history).trials
    assert [one.state.name for one in told] == ["COMPLETE"] * 16 + ["RUNNING"] * 3
    assert fits(propose(history))


def test_points_that_run_keep_others_away():
    # All that is known says x = 1; what runs there makes it less worth trying.
    def history(running):
        trials = [
            Trial(number=n, point=n, seed=0, params={"x": str(x)}, state="done", values={0: ((x - 1) ** 2,)})
            for n, x in enumerate(range(-5, 6))
        ]
        trials += [
            Trial(number=11 + n, point=11 + n, seed=0, params={"x": str(0.95 + n / 100)}, state="running")
            for n in range(running)
        ]
        return history_of(trials, ["min"])

    space = Space((Interval("x", -5.0, 5.0),))

    def distance(running):
        found = [propose(history(running), seed=seed, space=space) for seed in range(10)]
        return sum(abs(float(one["x"]) - 1) for one in found) / len(found)

    assert distance(10) > 1.5 * distance(0)


def test_a_history_of_failures_alone_is_survived():
    history = some_history(number=12, states=["failed"] * 12)
    assert fits(propose(history))


def test_values_that_are_no_numbers_are_left_out():
    history = some_history(objective=lambda params: (math.nan if params["adapt"] == "full" else 1.0,))
    told = study_of(MIXED, history).trials
    assert 0 < len(told) < 15 and all(one.values == [1.0] for one in told)
    assert fits(propose(history))


def test_failures_and_many_workers_do_not_stop_it():
    dice = random.Random(0)
    trials = []
    list(
        simulate(
            Tpe(MIXED, 25),
            lambda params, _: None if int(params["depth"]) > 6 else mixed(params),
            workers=4,
            pace=lambda _: dice.uniform(0.1, 5),
            trials=trials,
        )
    )
    assert len(trials) == 25 and {one.state for one in trials} == {"done", "failed"}


# --- Whether it helps -------------------------------------------------------------------------------------------------


def lower(own, other):
    """Whether the first of each pair is lower, beyond chance."""
    from scipy.stats import wilcoxon  # here, as a process that only proposes a point need not wait for it

    return wilcoxon(own, other, alternative="less").pvalue < 0.05


@pytest.mark.parametrize(
    ("space", "objective", "number", "workers"),
    [(SQUARE, square, 40, 1), (SQUARE, square, 55, 4), (MIXED, mixed, 25, 1)],
    ids=["real", "side by side", "mixed"],
)
def test_it_beats_random_search_over_ten_seeds(space, objective, number, workers):
    tpe = [best(Tpe(space, number, seed=seed), objective, workers=workers) for seed in range(10)]
    chance = [best(Random(space, number, seed=seed), objective, workers=workers) for seed in range(10)]
    assert lower(tpe, chance)


def test_of_two_objectives_it_covers_the_front_better_than_chance():
    # Between the minima of both, from x = -1 to x = 1 at y = 0.01, lies the front.
    def two(params, _=0):
        x, y = float(params["x"]), math.log10(float(params["y"])) + 2
        return (x - 1) ** 2 + y**2, -((x + 1) ** 2 + y**2)

    def uncovered(method):
        """What the front leaves of the square below (5, 5)."""
        trials = []
        list(simulate(method, two, modes=("min", "max"), workers=2, trials=trials))
        front = history_of(trials, ("min", "max")).front()
        corners = sorted((p.values()[0], -p.values()[1]) for p in front if max(p.values()[0], -p.values()[1]) < 5)
        covered, edge = 0.0, 5.0
        for first, second in corners:
            covered, edge = covered + (5 - first) * (edge - second), second
        return 25 - covered

    tpe = [uncovered(Tpe(SQUARE, 40, seed=seed)) for seed in range(10)]
    chance = [uncovered(Random(SQUARE, 40, seed=seed)) for seed in range(10)]
    assert lower(tpe, chance)


def test_two_objectives_with_failed_and_running_points_are_borne():
    history = some_history(
        objective=lambda params: (mixed(params)[0], float(params["depth"])),
        number=20,
        states=["failed", "running"],
        modes=("min", "max"),
    )
    assert propose(history) == propose(history) and fits(propose(history))


def test_no_point_of_a_countable_space_comes_twice():
    space, _ = read_space(["a=1,2,3", "b=x,y"])
    trials = []
    list(simulate(Tpe(space, 6, startup=2), lambda params, _: (float(params["a"]),), trials=trials))
    assert len({str(one.params) for one in trials}) == 6


def test_it_ends():
    assert Tpe(MIXED, 15).next(some_history()) is None
    assert Tpe(MIXED, 16).next(some_history()).point == 15
    assert Tpe(MIXED, 5).next(History((), ())).point == 0
