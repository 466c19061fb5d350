"""Digests of files: any change changes them, and exact copies are found however large the set is."""

import os

import numpy as np
import pytest

from ptft.data import file_contents as module
from ptft.data.file_contents import Contents, fingerprint, read_contents
from ptft.data.listing import make_listing

NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture
def root(tmp_path):
    for name, text in zip(NAMES, ["one", "two", "one", "", "two"], strict=True):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture(params=[1 << 30, 0], ids=["whole", "sampled"])
def limit(request, monkeypatch):
    monkeypatch.setattr(module, "FULL_BYTES", request.param)
    return request.param


def test_exact_copies_are_found(root, limit):
    assert [group.tolist() for group in read_contents(root, NAMES).copies] == [[0, 2], [1, 4]]


def test_files_that_differ_between_the_samples_are_no_copies(tmp_path, limit):
    whole = bytearray(100_000)
    (tmp_path / "a").write_bytes(whole)
    (tmp_path / "b").write_bytes(whole)
    whole[20_000] = 1
    (tmp_path / "c").write_bytes(whole)
    assert [group.tolist() for group in read_contents(tmp_path, ["a", "b", "c"]).copies] == [[0, 1]]


def test_any_change_is_seen(root, limit):
    before = read_contents(root, NAMES).fingerprint
    assert before == read_contents(root, NAMES).fingerprint
    found = {before, read_contents(root, NAMES[::-1]).fingerprint, read_contents(root, NAMES[:-1]).fingerprint}
    (root / "b").rename(root / "x")
    found.add(read_contents(root, ["a", "x", "c", "d", "e"]).fingerprint)
    (root / "x").rename(root / "b")
    status = (root / "b").stat()
    (root / "b").write_text("twO")
    os.utime(root / "b", ns=(status.st_atime_ns, status.st_mtime_ns))
    found.add(read_contents(root, NAMES).fingerprint)
    (root / "b").write_text("two!")
    found.add(read_contents(root, NAMES).fingerprint)
    assert len(found) == 6


def test_every_byte_counts_up_to_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100_000))
    before = read_contents(tmp_path, ["a"]).fingerprint
    for place in (0, 20_000, 99_999):
        changed = bytearray(100_000)
        changed[place] = 1
        (tmp_path / "a").write_bytes(changed)
        assert read_contents(tmp_path, ["a"]).fingerprint != before


def test_files_that_cannot_be_read_are_never_copies(root, limit):
    names = ["a", "gone", "lost"]
    assert read_contents(root, names).copies == ()


def test_copies_of_a_part_are_those_still_there():
    contents = Contents("x", (np.array([0, 2, 5]), np.array([1, 4])))
    part = contents.take(np.array([0, 1, 3, 5]), 6)
    assert [group.tolist() for group in part.copies] == [[0, 3]] and part.fingerprint == "x"


def test_a_data_set_is_told_by_files_labels_splits_and_what_was_left_out(root):
    contents = read_contents(root, NAMES)
    rows = {"train": np.array([0, 1, 2]), "val": np.array([3]), "test": np.array([4])}
    kept = np.arange(5)

    def listing(labels):
        return make_listing(root, NAMES, labels, where=str)

    base = (contents, listing(list("xyxyx")), rows, kept)
    others = [
        (contents, listing(list("xyxyy")), rows, kept),
        (contents, listing(list("zyzyz")), rows, kept),
        (contents, base[1], {**rows, "train": np.array([0, 1])}, kept),
        (contents, base[1], {**rows, "val": rows["test"], "test": rows["val"]}, kept),
        (contents, base[1], rows, kept + 1),
        (read_contents(root, NAMES[:-1]), base[1], rows, kept),
    ]
    assert len({fingerprint(*case) for case in (base, base, *others)}) == 7
