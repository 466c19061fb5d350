"""What a person is told of a division."""

import numpy as np

from ptft.data.listing import make_listing
from ptft.data.overlap import copy_notes, overlaps, unseen_classes

NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]


def listing_of(labels="xyxyxyxy", parts=None):
    return make_listing("/root", NAMES, list(labels), parts=parts, where=str)


SPLITS = {"train": np.array([0, 1, 2, 3]), "val": np.array([4, 5]), "test": np.array([6, 7])}


def test_copies_across_splits_are_counted_and_named():
    copies = [np.array([0, 2, 4]), np.array([1, 5, 7]), np.array([2, 3])]
    assert overlaps(listing_of(), copies, None, SPLITS) == [
        "2 pictures lie in both train and val as exact copies: `a` = `e`, `b` = `f`; metrics on val are too good",
        "1 picture lies in both train and test as exact copies: `b` = `h`; metrics on test are too good",
        "1 picture lies in both val and test as exact copies: `f` = `h`; metrics on test are too good",
    ]
    assert overlaps(listing_of(), [np.array([0, 1])], None, SPLITS) == []


def test_at_most_three_pairs_are_named():
    copies = [np.array([row, row + 4]) for row in range(4)]
    splits = {"train": np.arange(4), "val": np.arange(4, 8)}
    (message,) = overlaps(listing_of(), copies, None, splits)
    assert message.count("=") == 3 and "and 1 more" in message


def test_groups_cut_by_the_splits_given_are_told():
    groups = np.array([0, 1, 1, 3, 0, 5, 6, 6])
    (message,) = overlaps(listing_of(), [], groups, SPLITS)
    assert message.startswith("1 groups of data.split.group") and "`a` in train and `e` in val" in message


def test_copies_and_those_with_several_labels_are_told():
    first, second = copy_notes(listing_of(), [np.array([0, 1, 2]), np.array([4, 6])])
    assert first == "3 pictures are exact copies of others: `a` = `b`, `e` = `g`; copies stay in one split"
    assert second == "1 picture has several labels, as exact copies: `a` = `b`"
    given = listing_of(parts=["train"] * 7 + ["val"])
    assert copy_notes(given, [np.array([0, 2])]) == ["1 picture is an exact copy of another: `a` = `c`"]
    assert copy_notes(listing_of(), []) == []


def test_classes_that_a_split_lacks_are_told():
    assert unseen_classes(listing_of("xyzxxyxz"), SPLITS) == [
        "val holds no picture of `z`: nothing is measured on it",
        "test holds no picture of `y`: nothing is measured on it",
    ]
