"""Random search: a point follows from the seed and its number, and none is tried twice while there are others."""

import random

import pytest

from benchmarks.simulate import simulate
from ptft.sweep.methods.random import Random
from ptft.sweep.space import read_space

MIXED, _ = read_space(["lr=tag(log,interval(1e-5,1e-1))", "depth=int(interval(1,8))", "adapt=full,lora"])


def points(space=MIXED, trials=20, *, seed=0, workers=1, objective=lambda *_: (0.0,), pace=lambda _: 1.0):
    ran = []
    list(simulate(Random(space, trials, seed=seed), objective, workers=workers, pace=pace, trials=ran))
    return [trial.params for trial in ran]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_order_in_which_trials_end_changes_nothing(workers):
    dice = random.Random(workers)
    assert points(workers=workers, pace=lambda _: dice.uniform(0.1, 9)) == points()


def test_neither_do_their_values_nor_failures():
    dice = random.Random(0)
    assert points(objective=lambda *_: dice.choice([None, (0.5,), (7.0,)]), workers=3) == points()


def test_another_seed_draws_other_points():
    assert not {str(one) for one in points(seed=1)} & {str(one) for one in points(seed=2)}


def test_more_trials_begin_with_the_same_points():
    assert points(trials=30)[:20] == points()


@pytest.mark.parametrize("texts", [["a=range(0,6)", "b=x,y"], ["a=int(interval(1,40))", "b=range(0,10)"]])
@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_a_countable_space_comes_twice(texts, seed):
    space, _ = read_space(texts)
    found = {str(one) for one in points(space, int(space.size), seed=seed)}
    assert len(found) == space.size


def test_a_space_that_is_exhausted_is_drawn_from_again():
    space, _ = read_space(["a=1,2,3"])
    found = [one["a"] for one in points(space, 8)]
    assert sorted(found[:3]) == ["1", "2", "3"] and set(found[3:]) <= {"1", "2", "3"} and len(found) == 8


def test_a_sweep_that_was_killed_goes_on_as_if_it_had_not_been():
    method, trials = Random(MIXED, 20, seed=4), []
    for place, _ in enumerate(simulate(method, lambda *_: (0.0,), workers=3, trials=trials)):
        if place == 6:
            break
    list(simulate(Random(MIXED, 20, seed=4), lambda *_: (0.0,), workers=2, trials=trials))
    assert [trial.params for trial in trials] == points(seed=4)
