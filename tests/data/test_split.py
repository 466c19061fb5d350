"""Splits: whole, disjoint, stratified, seeded, and with the counts asked for."""

import collections

import numpy as np
import pytest

from ptft.data.split import Split, divide, keep_labels, sample_rows
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


# ---- Groups, and splits that come with the data ---------------------------------------------------------------------


@pytest.mark.parametrize("stratify", [True, False])
def test_no_group_lies_in_two_splits(stratify):
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 150, 600)
    labels = generator.integers(0, 4, 150)[groups]
    for seed in range(5):
        splits = divide(labels, Split(seed=seed, stratify=stratify), groups=groups)
        assert sorted(np.concatenate(list(splits.values()))) == list(range(600))
        held = [set(groups[rows]) for rows in splits.values()]
        assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]
        assert all(abs(len(splits[name]) - 60) <= 6 for name in ("val", "test"))


def test_groups_that_leave_nothing_to_take_are_refused():
    with pytest.raises(
        DataError, match=r"data\.split\.test finds nothing to take: the 30 examples left make one group"
    ):
        divide(np.arange(30) % 2, Split(), groups=np.zeros(30, dtype=np.int64))
    with pytest.raises(DataError, match=r"data\.split\.val finds nothing to take: the 15 examples left make one group"):
        divide(np.arange(30) % 2, Split(), groups=np.arange(30) // 15)


@pytest.mark.parametrize(
    ("given", "counts"), [("train", (80, 10, 10)), ("train val", (72, 20, 8)), ("train test", (72, 8, 20))]
)
def test_splits_that_are_not_given_are_taken_from_train(given, counts):
    names = given.split()
    rows = {names[-1]: np.arange(80, 100), "train": np.arange(100 if len(names) == 1 else 80)}
    splits = divide(np.arange(100) % 2, Split(), given=rows)
    assert tuple(len(splits[name]) for name in ("train", "val", "test")) == counts
    assert sorted(np.concatenate(list(splits.values()))) == list(range(100))
    assert all((splits[name] == rows[name]).all() for name in names if name != "train")


def test_a_split_given_that_is_empty_is_refused():
    with pytest.raises(DataError, match="own val split holds no example"):
        divide(np.zeros(4, dtype=np.int64), Split(), given={"train": np.arange(4), "val": np.arange(0)})


def test_a_sample_of_rows_is_in_order_and_always_the_same():
    rows = np.arange(100, 1100)
    sample = sample_rows(rows, 50, Split())
    assert len(set(sample)) == 50 and set(sample) <= set(rows) and (np.diff(sample) > 0).all()
    assert (sample == sample_rows(rows, 50, Split())).all() and (sample_rows(rows, 2000, Split()) == rows).all()
    assert set(sample) != set(sample_rows(rows, 50, Split(seed=1)))


@pytest.mark.parametrize("group", ["", 3])
def test_a_group_is_a_name_or_a_pattern(group):
    with pytest.raises(ConfigError, match="group takes a column or a regular expression"):
        Split.of({"group": group})
