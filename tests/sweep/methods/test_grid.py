"""A grid walks every combination once, in order, however its trials end."""

from itertools import product

import pytest

from benchmarks.simulate import simulate
from ptft.errors import ConfigError
from ptft.sweep.methods.grid import Grid
from ptft.sweep.space import read_space
from ptft.sweep.trial import History

SPACE, _ = read_space(["model=vgg,vit", "lr=1e-3,1e-2,1e-1", "depth=range(1,3)"])
EXPECTED = [
    {"model": model, "lr": lr, "depth": depth}
    for model, lr, depth in product(("vgg", "vit"), ("0.001", "0.01", "0.1"), ("1", "2"))
]


def walk(workers=1, trials=12, fails=(), **more):
    """The points in the order in which they begin."""
    ran = []
    list(
        simulate(
            Grid(SPACE, trials),
            lambda params, _: None if EXPECTED.index(params) in fails else (0.0,),
            workers=workers,
            trials=ran,
            **more,
        )
    )
    return [trial.params for trial in ran]


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_a_grid_is_the_product_of_its_values(workers):
    assert walk(workers) == EXPECTED


def test_a_grid_goes_on_after_trials_that_failed():
    assert walk(workers=2, fails={0, 1, 5, 11}) == EXPECTED


def test_a_grid_may_end_before_its_end():
    assert walk(trials=5) == EXPECTED[:5]


def test_the_order_in_which_trials_end_changes_nothing():
    assert walk(workers=4, pace=lambda trial: 1 + trial.number * 7 % 5) == EXPECTED


def test_nothing_is_left_after_the_last():
    trials = []
    for _ in simulate(Grid(SPACE, 12), lambda *_: (0.0,), trials=trials):
        pass
    assert list(simulate(Grid(SPACE, 12), lambda *_: (0.0,), trials=trials)) == []


def test_a_grid_of_an_interval_is_refused():
    space, _ = read_space(["lr=interval(0,1)"])
    with pytest.raises(ConfigError, match="cannot walk the interval of lr"):
        Grid(space, 3).next(History((), ()))
