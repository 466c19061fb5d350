"""Bad pictures are found before training: named where they are an error, remembered where they are skipped."""

import json

import pytest

from ptft.data.image_files import ImageFiles
from ptft.data.screening import memory_path, most_bad, reason_in, screen
from ptft.errors import DataError
from tests.data.files import pictures

NAMES = [f"{number}.jpg" for number in range(10)]


@pytest.fixture
def files(tmp_path):
    root = pictures(tmp_path / "photos", NAMES, size=(40, 30))
    whole = (root / "3.jpg").read_bytes()
    (root / "3.jpg").write_bytes(whole[: len(whole) // 2])  # its header is whole
    (root / "6.jpg").write_text("no picture")
    (root / "8.jpg").write_bytes(b"")
    return ImageFiles(root, NAMES)


def test_the_first_bad_header_is_named_with_what_to_do(files, tmp_path):
    with pytest.raises(DataError, match=r"6\.jpg.* \(1 more like it\)\. Mend or remove it, .*data\.on_bad_sample=skip"):
        screen(files, "error", 0.5, tmp_path / "memory", 2)
    assert not (tmp_path / "memory").exists()


def test_every_picture_is_decoded_where_bad_ones_are_skipped(files, tmp_path):
    bad = screen(files, "skip", 0.3, tmp_path / "memory", 2)
    assert list(bad) == [3, 6, 8] and not any(NAMES[row] in reason for row, reason in bad.items())
    assert bad[8] == "it is empty (0 bytes)"


def test_more_than_the_limit_is_an_error_that_tells_the_share(files, tmp_path):
    with pytest.raises(DataError, match=r"3 of 10 pictures cannot be read, 30\.0% where data\.max_bad=0\.29 allows"):
        screen(files, "skip", 0.29, tmp_path / "memory", 2)


@pytest.mark.parametrize(("share", "count", "most"), [(0.29, 100, 29), (0.3, 10, 3), (0.01, 99, 0), (1.0, 7, 7)])
def test_exactly_the_share_allowed_may_be_left_out(share, count, most):
    assert most_bad(share, count) == most


@pytest.mark.parametrize("name", ["a b.jpg", "a\n.jpg"])
def test_a_reason_is_told_without_its_place(tmp_path, name):
    files = ImageFiles(tmp_path, [name])
    with pytest.raises(DataError) as error:
        files.read(0)
    assert reason_in(str(error.value), tmp_path / name) == "No such file or directory"
    assert reason_in("something else: x", tmp_path / name) == "something else: x"


def test_verdicts_are_remembered(files, tmp_path, monkeypatch):
    memory = tmp_path / "cache" / "memory"
    first = screen(files, "skip", 0.5, memory, 2)
    with monkeypatch.context() as patch:
        patch.setattr(files, "read", None)
        assert screen(files, "skip", 0.5, memory, 2) == first
        with pytest.raises(DataError, match="3 of 10"):
            screen(files, "skip", 0.1, memory, 2)
    for damaged in ("", "[]", json.dumps({"bad": {"other.jpg": "x"}})):
        memory.write_text(damaged)
        assert screen(files, "skip", 0.5, memory, 2) == first


def test_where_nothing_can_be_remembered_it_is_found_again(files, tmp_path):
    (tmp_path / "file").write_text("x")
    assert len(screen(files, "skip", 0.5, tmp_path / "file" / "memory", 2)) == 3


def test_other_files_or_channels_have_a_memory_of_their_own(tmp_path):
    paths = {memory_path(tmp_path, fingerprint, channels) for fingerprint in "ab" for channels in (1, 3)}
    assert len(paths) == 4 and {path.parent for path in paths} == {tmp_path}
