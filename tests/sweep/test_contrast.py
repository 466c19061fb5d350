"""Which value of a setting wins is told with a paired interval, each value at its best."""

import math

import pytest
from scipy.stats import ttest_rel

from ptft.sweep.contrast import compared_key, contrasts
from ptft.sweep.space import read_space
from ptft.sweep.trial import Trial, history_of


def trials(values):
    """Trials of points given as {(adapt, lr): [value of each seed]}."""
    found = []
    for point, ((adapt, lr), column) in enumerate(values.items()):
        for seed, value in enumerate(column):
            params = {"adapt": adapt, "optimizer.lr": lr}
            values_ = {} if value is None else {0: (value,)}
            state = "failed" if value is None else "done"
            found.append(Trial(number=len(found), point=point, seed=seed, params=params, state=state, values=values_))
    return found


VALUES = {
    ("full", "1e-3"): [0.90, 0.93, 0.92],
    ("full", "1e-2"): [0.70, 0.71, 0.72],
    ("lora", "1e-3"): [0.80, 0.81, 0.82],
    ("lora", "1e-2"): [0.88, 0.92, 0.90],
}


def test_each_value_is_judged_at_its_best_and_paired_by_seed():
    first, second = contrasts(history_of(trials(VALUES), ["max"]), "adapt")
    assert (first.value, second.value) == ("full", "lora")
    assert first.difference is None and first.mean == pytest.approx(0.9166667)
    assert second.params["optimizer.lr"] == "1e-2"
    reference = ttest_rel([0.88, 0.92, 0.90], [0.90, 0.93, 0.92]).confidence_interval(0.95)
    assert second.difference == pytest.approx(-0.0166667, abs=1e-6)
    assert second.interval == pytest.approx((reference.low, reference.high))
    assert second.certain is True


def test_an_interval_that_holds_zero_is_not_certain():
    noisy = {("full", "1"): [0.9, 0.8], ("lora", "1"): [0.7, 0.9]}
    _, second = contrasts(history_of(trials(noisy), ["max"]), "adapt")
    assert second.certain is False
    _, alone = contrasts(history_of(trials({("a", "1"): [0.9], ("b", "1"): [0.8]}), ["max"]), "adapt")
    assert alone.interval is None and alone.certain is None and alone.difference == pytest.approx(-0.1)


def test_seeds_that_failed_are_left_out_of_the_pairs():
    values = {("full", "1"): [0.9, 0.8, None], ("lora", "1"): [0.7, 0.75, 0.1]}
    _, second = contrasts(history_of(trials(values), ["max"]), "adapt")
    assert second.difference == pytest.approx((0.7 - 0.9 + 0.75 - 0.8) / 2)


def test_of_losses_the_least_wins():
    values = {("full", "1"): [0.9, 0.8], ("lora", "1"): [0.7, 0.75]}
    first, second = contrasts(history_of(trials(values), ["min"]), "adapt")
    assert first.value == "lora" and second.difference > 0 and math.isfinite(second.difference)


def test_the_setting_compared_is_the_first_whose_values_are_words():
    assert compared_key(read_space(["optimizer.lr=1e-3,1e-2", "adapt=full,lora", "model=a,b"])[0]) == "adapt"
    assert compared_key(read_space(["optimizer.lr=1e-3,1e-2", "engine.seed=range(0,3)"])[0]) is None


def test_one_value_is_compared_with_nothing():
    assert contrasts(history_of(trials({("full", "1"): [0.9]}), ["max"]), "adapt") == []
