"""The cache of decoded pictures: what the files hold, whole or not at all, one for all who ask."""

import errno
import multiprocessing
import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ptft.data import image_cache
from ptft.data.image_cache import build_cache
from ptft.data.image_files import ImageFiles
from ptft.errors import DataError
from tests.data.test_image_files import colours, save

SIZES = {"wide.png": (40, 61), "high.jpg": (90, 37), "small.png": (9, 70), "dot.png": (1, 1)}


@pytest.fixture
def files(tmp_path):
    for name, size in SIZES.items():
        save(tmp_path, name, Image.fromarray(colours(*size) if size != (1, 1) else np.zeros((1, 1, 3), np.uint8)))
    return ImageFiles(tmp_path, list(SIZES))


def test_pictures_are_kept_with_their_aspect_and_never_enlarged(files, tmp_path):
    cache, warning = build_cache(files, 32, tmp_path / "new" / "cache", "key")
    assert len(cache) == 4 and warning == ""
    assert [cache.size(number) for number in range(4)] == [(32, 48), (77, 32), (9, 70), (1, 1)]
    for number in range(4):
        picture = cache.read(number)
        assert tuple(picture.shape) == (3, *cache.size(number)) and picture.permute(1, 2, 0).is_contiguous()
    assert torch.equal(cache.read(2), files.read(2))
    reference = Image.open(tmp_path / "wide.png").resize((48, 32), Image.Resampling.BILINEAR)
    difference = cache.read(0).permute(1, 2, 0).numpy().astype(int) - np.array(reference).astype(int)
    assert np.abs(difference).max() <= 1


def test_a_cache_of_greys_is_another_one(files, tmp_path):
    grey = ImageFiles(tmp_path, files.paths, channels=1)
    for source in (files, grey):
        cache, _ = build_cache(source, 500, tmp_path / "cache", "key")
        assert all(torch.equal(cache.read(number), source.read(number)) for number in range(4))
    assert len(list((tmp_path / "cache").glob("pictures-*.bin"))) == 2


def test_what_is_there_is_used_and_another_key_or_side_makes_another(files, tmp_path, monkeypatch):
    first, _ = build_cache(files, 32, tmp_path / "cache", "key")
    assert len({build_cache(files, 16, tmp_path / "cache", "key")[0].path, first.path}) == 2
    assert len({build_cache(files, 32, tmp_path / "cache", "other")[0].path, first.path}) == 2
    other = ImageFiles(files.root, [*files.paths[::-1]])
    assert build_cache(other, 32, tmp_path / "cache", "key")[0].path != first.path
    monkeypatch.setattr(ImageFiles, "read", None)
    again, _ = build_cache(files, 32, tmp_path / "cache", "key")
    assert torch.equal(again.read(0), first.read(0))


def test_other_backgrounds_and_other_decoders_make_another(files, tmp_path, monkeypatch):
    first, _ = build_cache(files, 32, tmp_path / "cache", "key")
    black = ImageFiles(files.root, files.paths, background="black")
    monkeypatch.setattr(image_cache, "decoders", lambda: ("torchvision 99", "pillow 99"))
    assert build_cache(files, 32, tmp_path / "cache", "key")[0].path != first.path
    monkeypatch.undo()
    assert build_cache(black, 32, tmp_path / "cache", "key")[0].path != first.path
    assert build_cache(files, 32, tmp_path / "cache", "key")[0].path == first.path


def test_the_number_of_threads_changes_nothing(files, tmp_path):
    one, _ = build_cache(files, 32, tmp_path / "one", "key", threads=1)
    four, _ = build_cache(files, 32, tmp_path / "four", "key", threads=4)
    assert one.path.read_bytes() == four.path.read_bytes()


# ---- Damage


def harm_end(content):
    return content[:-1]


def harm_header(content):
    return b"x" + content[1:]


def harm_sizes(content):
    return content[:70] + bytes([content[70] ^ 1]) + content[71:]


@pytest.mark.parametrize("harm", [harm_end, harm_header, harm_sizes, lambda content: b"", lambda content: content[:99]])
def test_a_damaged_cache_is_noticed_and_built_anew_with_a_warning(files, tmp_path, harm):
    cache, _ = build_cache(files, 32, tmp_path / "cache", "key")
    whole = cache.path.read_bytes()
    cache.path.unlink()  # the mapping keeps the old file
    cache.path.write_bytes(harm(whole))
    again, warning = build_cache(files, 32, tmp_path / "cache", "key")
    assert str(cache.path) in warning and "built anew" in warning
    assert again.path.read_bytes() == whole and torch.equal(again.read(1), cache.read(1))


def left_over(folder):
    return [path.name for path in folder.iterdir() if not path.name.startswith(".lock-")]


def test_a_full_disk_is_told_before_and_leaves_nothing_behind(files, tmp_path, monkeypatch):
    monkeypatch.setattr(image_cache.disk, "free_bytes", lambda path: 1000)
    with pytest.raises(DataError, match=r"takes .* GB, and .* has .* GB free; .*data\.cache_folder"):
        build_cache(files, 32, tmp_path / "cache", "key")
    assert left_over(tmp_path / "cache") == []


def test_a_disk_that_fills_up_is_told_and_leaves_nothing_behind(files, tmp_path, monkeypatch):
    whole, calls = os.pwrite, []

    def pwrite(*arguments):
        calls.append(arguments)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(*arguments)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(DataError, match=r"No space left on device; give another data\.cache_folder"):
        build_cache(files, 32, tmp_path / "cache", "key")
    assert left_over(tmp_path / "cache") == []


def test_a_folder_that_cannot_be_made_is_told(files, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"Not a directory; give another data\.cache_folder"):
        build_cache(files, 32, tmp_path / "file" / "cache", "key")


def test_a_broken_picture_stops_the_building_and_leaves_nothing_behind(files, tmp_path):
    build_cache(files, 32, tmp_path / "cache", "before")
    content = (tmp_path / "high.jpg").read_bytes()
    (tmp_path / "high.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"high\.jpg"):
        build_cache(files, 32, tmp_path / "cache", "key")
    assert len(left_over(tmp_path / "cache")) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("map")]


def test_what_a_killed_process_left_is_removed(files, tmp_path):
    cache, _ = build_cache(files, 32, tmp_path / "cache", "key")
    cache.path.rename(tmp_path / "cache" / f".tmp-{cache.path.name}-0000")
    build_cache(files, 32, tmp_path / "cache", "key")
    assert left_over(tmp_path / "cache") == [cache.path.name]


def build_and_tell(folder, results):
    cache, warning = build_cache(ImageFiles(folder, list(SIZES)), 32, folder / "cache", "key")
    results.put((cache.path.stat().st_ino, warning))


def test_two_processes_at_once_share_one_cache(files, tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=build_and_tell, args=(tmp_path, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(found) == 1
