"""Splits: whole, disjoint, stratified, seeded, and with the counts asked for."""

import collections

import numpy as np
import pytest

from ptft.data.split import Split, divide, keep_labels
from ptft.errors import ConfigError, DataError


def labels_of(*sizes, seed=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels)


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("num_test", [0, 30])
def test_splits_are_disjoint_and_whole_and_in_order(stratify, num_test):
    labels = labels_of(50, 100, 77)
    splits = divide(labels, Split(stratify=stratify), num_test=num_test)
    assert sorted(np.concatenate(list(splits.values()))) == list(range(227))
    assert all((np.diff(rows) > 0).all() for rows in splits.values())
    if num_test:
        assert splits["test"].tolist() == list(range(197, 227))
        assert len(splits["val"]) == round(0.1 * 197)
    else:
        assert (len(splits["val"]), len(splits["test"])) == (23, 23)


def test_each_split_has_its_share_of_each_class_to_within_one():
    labels = labels_of(50, 100, 77, 3)
    for name, share in (("val", 0.1), ("test", 0.1), ("train", 0.8)):
        counts = np.bincount(labels[divide(labels, Split())[name]], minlength=4)
        assert (np.abs(counts - share * np.array([50, 100, 77, 3])) <= 1).all(), name


def test_the_split_seed_alone_decides():
    labels = labels_of(60, 60)
    first, again, other = (divide(labels, Split(seed=seed)) for seed in (0, 0, 1))
    assert all((first[name] == again[name]).all() for name in first)
    assert set(first["test"]) != set(other["test"])
    # Validation and test are drawn independently: another share for one leaves the other's draw alone.
    assert (divide(labels, Split(val=0.3))["test"] == first["test"]).all()


def test_splits_are_those_of_every_machine_and_version():
    splits = divide(np.arange(20) % 2, Split(seed=3))
    assert (splits["val"].tolist(), splits["test"].tolist()) == ([8, 17], [7, 16])  # stored


@pytest.mark.parametrize(
    ("sizes", "fraction", "count"), [((143, 146, 140), 30 / 429, 30), ((5400,) * 10, 0.01111, 600)]
)
def test_a_fraction_of_labels_keeps_the_nearest_count_evenly(sizes, fraction, count):
    labels = labels_of(*sizes)
    rows = keep_labels(labels, np.arange(len(labels)), fraction, Split())
    assert np.bincount(labels[rows]).tolist() == [count // len(sizes)] * len(sizes)


@pytest.mark.parametrize("size", [1437, 54_000])
@pytest.mark.parametrize("count", [10, 30, 100, 300, 600, 999])
def test_four_significant_digits_reach_any_count_below_a_thousand(size, count):
    fraction = float(f"{count / size:.4g}")
    labels = np.arange(size) % 10
    assert len(keep_labels(labels, np.arange(size), fraction, Split())) == count


def test_each_class_keeps_at_least_one_label():
    labels = labels_of(1000, 2, 500)
    rows = keep_labels(labels, np.arange(1502), 0.001, Split())
    assert collections.Counter(labels[rows].tolist()) == {0: 1, 1: 1, 2: 1}
    assert (keep_labels(labels, np.arange(1502), 1.0, Split()) == np.arange(1502)).all()


def test_kept_labels_are_of_the_rows_given_and_depend_on_the_split_seed_alone():
    labels, rows = labels_of(300, 300), np.arange(100, 500)
    kept = keep_labels(labels, rows, 0.1, Split())
    assert set(kept) <= set(rows) and len(kept) == 40
    assert (kept == keep_labels(labels, rows, 0.1, Split(val=0.3))).all()
    assert set(kept) != set(keep_labels(labels, rows, 0.1, Split(seed=1)))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_too_few_examples_for_three_splits_are_refused(count):
    with pytest.raises(DataError, match=r"data\.split\.(test|val) takes 0 of"):
        divide(np.arange(count) % 2, Split())


def test_a_data_set_that_is_all_test_is_refused():
    with pytest.raises(DataError, match=r"data\.split\.val takes 0 of 0"):
        divide(np.arange(4), Split(), num_test=4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vall": 0.1}, "did you mean `val`"),
        ({"val": 0}, "val takes a share above 0 and below 1, found `0`"),
        ({"test": 1.0}, "test takes a share"),
        ({"val": True}, "val takes a share"),
        ({"test": "a"}, "test takes a share"),
        ({"val": float("nan")}, "val takes a share"),
        ({"seed": -1}, "seed takes a whole number"),
        ({"seed": 1.5}, "seed takes a whole number"),
        ({"stratify": "yes"}, "stratify takes true or false"),
        ({"val": 0.5, "test": 0.5}, "leave nothing to train on"),
    ],
)
def test_a_wrong_split_setting_is_named(values, message):
    with pytest.raises(ConfigError, match=message):
        Split.of(values)
