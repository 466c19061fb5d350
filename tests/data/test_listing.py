"""Listings: in an order that no machine changes, with class names that are what they seem."""

import unicodedata

import numpy as np
import pytest

from ptft.data.listing import is_picture, listed, make_listing, quoted
from ptft.errors import DataError

NFD = unicodedata.normalize("NFD", "café")


def listing_of(paths, names=None, **settings):
    return make_listing(settings.pop("root", "/root"), paths, names, where=paths.__getitem__, **settings)


def test_the_order_is_that_of_code_points_however_the_files_were_found():
    names = ["b/10.png", "b/9.png", "B/1.png", "a b/é.png", "a/\n.png", "-x.png"]
    order = sorted(names)
    for seed in range(5):
        shuffled = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
        listing = listing_of(shuffled, shuffled, columns={"own": shuffled})
        assert list(listing.paths) == order == list(listing.columns["own"])
        assert [listing.classes[label] for label in listing.labels] == order


def test_a_disk_that_writes_accents_apart_changes_no_order():
    composed = listing_of(["x/cafè.png", "x/café.png", "x/caff.png"])
    apart = listing_of([unicodedata.normalize("NFD", path) for path in composed.paths])
    assert [unicodedata.normalize("NFC", path) for path in apart.paths] == list(composed.paths)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Cat", "cat"], r"`Cat` \(0\.png\) and `cat` \(1\.png\) differ only in upper and lower case"),
        (["café", NFD], r"'caf\\xe9' .* and 'cafe\\u0301' .* differ only in how Unicode writes them"),
        (["CAFÉ", NFD], "differ only in upper and lower case"),
    ],
)
def test_class_names_that_are_easily_taken_for_one_another_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        listing_of(["0.png", "1.png"], names)


def test_class_names_are_composed():
    assert listing_of(["0.png", "1.png"], [NFD, "b"]).classes == ("b", "café")


def test_a_class_that_is_only_tested_is_refused():
    with pytest.raises(
        DataError, match=r"the class `dog` of val \(1\.png\) has no example in train, which holds `cat`"
    ):
        listing_of(["0.png", "1.png"], ["cat", "dog"], parts=["train", "val"])


def test_rows_can_be_taken():
    listing = listing_of(
        ["a", "b", "c", "d"],
        ["x", "y", "x", "y"],
        parts=["train", "val", "train", "train"],
        columns={"n": ["1", "2", "3", "4"]},
    )
    assert {name: rows.tolist() for name, rows in listing.splits.items()} == {"train": [0, 2, 3], "val": [1]}
    part = listing.take(np.array([1, 2, 3]))
    assert part.paths == ("b", "c", "d") and part.columns == {"n": ("2", "3", "4")}
    assert part.labels.tolist() == [1, 0, 1] and part.classes == ("x", "y")
    assert {name: rows.tolist() for name, rows in part.splits.items()} == {"train": [1, 2], "val": [0]}
    assert listing.take(np.arange(4)) is listing


def test_folders_are_told():
    assert listing_of(["a.png", "b/c.png", "b/d/e.png"]).folders() == (".", "b", "b/d")


def test_names_are_shown_so_that_each_character_can_be_seen():
    assert (quoted("a b"), quoted("a\n"), quoted(""), quoted("é")) == ("`a b`", "'a\\n'", "''", "`é`")
    assert listed("abc", 2) == "`a`, `b` and 1 more" and listed([]) == "none"


@pytest.mark.parametrize(("name", "is_one"), [("a.JPG", True), ("a.jpeg", True), ("a.txt", False), ("jpg", False)])
def test_pictures_are_known_by_their_suffix(name, is_one):
    assert is_picture(name) == is_one
