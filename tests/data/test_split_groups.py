"""Groups: named by columns or patterns, joined by copies, and drawn whole in proportion to their classes."""

import numpy as np
import pytest

from ptft.data.split_groups import draw_groups, group_names, number_groups
from ptft.errors import ConfigError

PATHS = ("cats/anna_1.png", "cats/anna_2.png", "dogs/bea_1.png", "dogs/7.png")


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (r"([a-z]+)_\d", ("anna", "anna", "bea", "")),
        (r"[a-z]+_", ("anna_", "anna_", "bea_", "")),
        (r"^cats|^(dogs)", ("", "", "dogs", "dogs")),
        ("person", ("p", "p", "q", "")),
    ],
)
def test_groups_come_from_a_column_or_a_pattern(group, names):
    assert group_names(group, PATHS, {"person": ["p", "p", "q", ""]}) == names


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (
            "persn",
            r"this is no column, and as a regular expression it matches none of the 4 names.*columns are `person`",
        ),
        ("([a-z", "neither a column nor a regular expression"),
    ],
)
def test_groups_that_mean_nothing_are_refused(group, message):
    with pytest.raises(ConfigError, match=message):
        group_names(group, PATHS, {"person": ["p"] * 4})


def test_copies_join_the_groups_they_are_in():
    numbers = number_groups(["a", "a", "b", "b", "", ""], [np.array([1, 2]), np.array([4, 5])], 6)
    assert [sorted(np.flatnonzero(numbers == number)) for number in np.unique(numbers)] == [[0, 1, 2, 3], [4, 5]]


def test_examples_that_all_stand_alone_make_no_groups():
    assert number_groups(None, [], 3) is None and number_groups(["a", "", "b"], [], 3) is None
    assert number_groups(["a", "", "a"], [], 3) is not None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("largest", [1, 3, 12])
def test_shares_are_as_near_as_groups_allow(seed, largest):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, largest + 1, 200)
    groups = generator.permutation(np.repeat(np.arange(200), sizes))
    classes = (np.arange(200) % 3)[groups]
    taken = draw_groups(classes, groups, round(0.2 * len(groups)), seed)
    assert set(groups[taken]).isdisjoint(np.delete(groups, taken))
    assert abs(len(taken) - 0.2 * len(groups)) <= largest
    for number in range(3):
        wanted = 0.2 * (classes == number).sum()
        assert abs((classes[taken] == number).sum() - wanted) <= largest


def test_classes_of_few_large_groups_make_up_for_each_other():
    # Four groups of 25 in each of ten classes: a tenth is less than half a group, yet the whole comes near a tenth.
    groups = np.repeat(np.arange(40), 25)
    taken = draw_groups(groups // 4, groups, 100, 0)
    assert len(taken) == 100


def test_a_class_of_one_group_keeps_it():
    groups = np.repeat(np.arange(11), [90, *[1] * 10])
    classes = (groups > 0).astype(np.int64)
    for seed in range(10):
        taken = draw_groups(classes, groups, 10, seed)
        assert 0 < len(taken) < 5 and classes[taken].all()


def test_a_group_counts_for_most_of_its_members():
    groups = np.array([0, 0, 0, 1, 2, 3, 4, 5, 6])
    classes = np.array([1, 1, 0, 0, 0, 0, 1, 1, 1])
    for seed in range(10):
        taken = draw_groups(classes, groups, 3, seed)
        assert set(groups[taken]).isdisjoint(np.delete(groups, taken))


def test_some_group_is_taken_unless_there_is_only_one():
    groups = np.array([0, 0, 0, 1, 1, 1, 1])
    assert draw_groups(np.zeros(7, dtype=np.int64), groups, 1, 0).tolist() == [0, 1, 2]
    assert draw_groups(np.arange(7) % 2, np.zeros(7, dtype=np.int64), 1, 0).tolist() == []


def test_the_draw_is_that_of_every_machine_and_version():
    groups = np.arange(30) // 3
    assert draw_groups(groups % 2, groups, 6, 3).tolist() == [15, 16, 17, 24, 25, 26]  # stored
    assert draw_groups(groups % 2, groups, 6, 4).tolist() != draw_groups(groups % 2, groups, 6, 3).tolist()
