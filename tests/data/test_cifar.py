"""CIFAR: its binary files and its archive as downloaded, read without unpacking; pickles are refused."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch

from ptft.data import download
from ptft.data.data_module import BatchPlan
from ptft.data.vision import cifar
from ptft.data.vision.cifar import CIFAR10, CIFAR100
from ptft.errors import ConfigError, DataError, FetchError
from tests import samples

KINDS = {10: CIFAR10, 100: CIFAR100}


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def packed(folder, target, kind, extra=()):
    """Pack a folder as the archive of a data set; `extra` are further members and their content."""
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target / kind.archive, "w:gz", compresslevel=1) as archive:
        archive.add(folder, kind.folder)
        for member, content in extra:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target


def everything(data):
    batches = [batch for loader in data.evaluation_loaders(BatchPlan(batch_size=50)).values() for batch in loader]
    index = torch.cat([batch["index"] for batch in batches])
    return {name: torch.cat([batch[name] for batch in batches])[index.argsort()] for name in batches[0]}


@pytest.mark.parametrize("classes", [10, 100])
def test_labels_and_pixels_are_those_of_the_files(tmp_path, classes):
    folder = samples.cifar(tmp_path, classes)
    data = KINDS[classes]([], path=str(folder))
    data.setup()
    assert data.spec.classes == tuple(f"class {number}" for number in range(classes))
    assert data.spec.shape == (3, 32, 32)
    head = 1 if classes == 10 else 2
    names = (*KINDS[classes].train_files, KINDS[classes].test_file)
    rows = np.concatenate([np.fromfile(folder / name, np.uint8).reshape(-1, head + 3072) for name in names])
    found = everything(data)
    assert found["label"].tolist() == rows[:, head - 1].tolist()
    pictures = data.pictures(found["index"])
    # Red first, each colour row by row.
    assert int(pictures[7, 2, 3, 5]) == rows[7, head + 2 * 1024 + 3 * 32 + 5]
    tests = [batch["index"] for batch in data.evaluation_loaders(BatchPlan(batch_size=50))["test"]]
    count = len(np.fromfile(folder / names[-1], np.uint8)) // (head + 3072)
    assert torch.cat(tests).tolist() == list(range(len(rows) - count, len(rows)))


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("place", ["folder", "parent", "archive", "file", "cache"])
def test_files_and_archive_give_the_same_wherever_they_may_lie(tmp_path, classes, place):
    kind = KINDS[classes]
    folder = samples.cifar(tmp_path / "here" / kind.folder, classes)
    straight = kind([], path=str(folder))
    straight.setup()
    paths = {
        "folder": lambda: folder,
        "parent": lambda: folder.parent,
        "archive": lambda: packed(folder, tmp_path / "zip", kind),
        "file": lambda: packed(folder, tmp_path / "zip", kind) / kind.archive,
        "cache": lambda: packed(folder, tmp_path / "cache" / "ptft", kind) and None,
    }
    path = paths[place]()
    data = kind([], path=None if path is None else str(path))
    data.setup()
    assert data.spec == straight.spec
    if place in ("archive", "cache"):
        assert [entry.name for entry in (path or tmp_path / "cache" / "ptft").iterdir()] == [kind.archive]


def test_coarse_labels_are_the_twenty_above_the_hundred(tmp_path):
    data = CIFAR100([], path=str(samples.cifar(tmp_path, 100)), labels="coarse")
    data.setup()
    fine = CIFAR100([], path=str(tmp_path))
    fine.setup()
    assert data.spec.classes == tuple(f"coarse {number}" for number in range(20))
    assert torch.equal(everything(data)["label"], everything(fine)["label"] // 5)


@pytest.mark.parametrize("classes", [10, 100])
def test_pickles_are_refused_and_the_binary_version_is_named(tmp_path, classes):
    kind = KINDS[classes]
    for name in kind.python_names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / name).mkdir()
        for path in (tmp_path, tmp_path / name):
            with pytest.raises(DataError, match=rf"consists of pickles.*take the binary version, .*{kind.archive}"):
                kind([], path=str(path)).setup()
        (tmp_path / name / name).rmdir()
        (tmp_path / name).rmdir()


def test_missing_data_are_refused_with_both_ways_out(tmp_path):
    with pytest.raises(DataError, match=r"cifar10 was not found in .*cache.*data\.path=FOLDER.*data\.download=true"):
        CIFAR10([]).setup()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "test_batch.bin",
            lambda content: content[:-1],
            "test_batch.bin is damaged: expected a whole number of images",
        ),
        ("test_batch.bin", lambda content: b"", "test_batch.bin is damaged"),
        ("data_batch_2.bin", lambda content: b"\x0a" + content[1:], "labels from 0 to 9, found 10 at example 10"),
        ("batches.meta.txt", lambda content: b"cat\ndog\n", "expected 10 names in batches.meta.txt, found 2"),
        ("data_batch_3.bin", None, r"has data_batch_1.bin but not data_batch_3.bin; unpack cifar-10-binary"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, change, message):
    file = samples.cifar(tmp_path, 10) / name
    content = file.read_bytes()
    file.unlink()
    if change is not None:
        file.write_bytes(change(content))
    with pytest.raises(DataError, match=message):
        CIFAR10([], path=str(tmp_path)).setup()


def test_an_archive_cut_short_is_refused(tmp_path):
    archive = packed(samples.cifar(tmp_path / "files", 10), tmp_path, CIFAR10) / CIFAR10.archive
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is damaged .*; fetch https://"):
        CIFAR10([], path=str(tmp_path)).setup()
    archive.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="is damaged"):
        CIFAR10([], path=str(tmp_path)).setup()


def test_the_archive_of_the_other_data_set_is_refused(tmp_path):
    folder = packed(samples.cifar(tmp_path / "files", 100), tmp_path, CIFAR100)
    with pytest.raises(
        DataError, match=r"not the binary version of cifar10: it has no cifar-10-batches-bin/data_batch_1"
    ):
        CIFAR10([], path=str(folder / CIFAR100.archive)).setup()


def test_only_known_members_of_an_archive_are_read_and_nothing_is_written(tmp_path):
    link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_5.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    outside = tarfile.TarInfo("../../escaped")
    files = samples.cifar(tmp_path / "files", 10)
    folder = packed(files, tmp_path / "zip", CIFAR10, [(outside, b"x")])
    data = CIFAR10([], path=str(folder))
    data.setup()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "zip"]
    assert [path.name for path in folder.iterdir()] == [CIFAR10.archive]
    (files / "data_batch_5.bin").unlink()
    packed(files, folder, CIFAR10, [(link, b"")])
    with pytest.raises(DataError, match=r"it has no cifar-10-batches-bin/data_batch_5\.bin"):
        CIFAR10([], path=str(folder)).setup()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "LARGEST", 400_000)
    folder = packed(
        samples.cifar(tmp_path / "files", 10), tmp_path, CIFAR10, [(tarfile.TarInfo("more"), bytes(300_000))]
    )
    with pytest.raises(DataError, match="holds more than cifar10 does"):
        CIFAR10([], path=str(folder)).setup()


# ---- Downloading


@pytest.mark.parametrize("path", [None, "given"])
def test_a_download_goes_to_the_path_or_the_cache_and_is_used_again(tmp_path, monkeypatch, path):
    source = packed(samples.cifar(tmp_path / "files", 10), tmp_path / "web", CIFAR10) / CIFAR10.archive
    asked = []

    def fetch(url, target, digest, say):
        asked.append((url, target.parent, digest))
        target.parent.mkdir(parents=True)
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(download.download, "fetch", fetch)
    target = tmp_path / (path or "cache/ptft")
    for _ in range(2):
        CIFAR10([], path=str(target) if path else None, download=True).setup()
    assert asked == [("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", target, CIFAR10.digest)]
    assert len(bytes.fromhex(CIFAR10.digest)) == len(bytes.fromhex(CIFAR100.digest)) == hashlib.sha256().digest_size


def test_a_failed_download_says_where_to_put_the_archive(tmp_path, monkeypatch):
    def fetch(url, target, digest, say):
        raise FetchError(f"cannot fetch {url} (no answer within 5 s)")

    monkeypatch.setattr(download.download, "fetch", fetch)
    with pytest.raises(DataError, match=r"cannot fetch https.*no answer within 5 s.*put it into .*cache/ptft"):
        CIFAR10([], download=True).setup()


def test_offline_forbids_the_download(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"data\.download=true, but HF_HUB_OFFLINE forbids that; unset that"):
        CIFAR10([], download=True).setup()


# ---- Statistics


def test_mean_and_deviation_can_be_set_and_are_what_images_are_normalised_with(tmp_path):
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    data = CIFAR10([], path=str(samples.cifar(tmp_path, 10)), mean=mean, std=std)
    data.setup()
    assert data.spec.mean == mean and data.spec.std == std
    found = everything(data)
    channels = [torch.tensor(values).view(3, 1, 1) for values in (mean, std)]
    expected = (data.pictures(found["index"]).float() / 255 - channels[0]) / channels[1]
    torch.testing.assert_close(found["image"], expected, atol=1e-5, rtol=1e-5)


def test_statistics_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.mean=\(0\.5,\) and data\.std=None go together"):
        CIFAR10([], mean=(0.5,))
    with pytest.raises(ConfigError, match="a deviation is above 0"):
        CIFAR10([], mean=(0.5,), std=(0.0,))
    with pytest.raises(DataError, match=r"need 3 values each, one a channel; found 1 and 1"):
        CIFAR10([], path=str(samples.cifar(tmp_path, 10)), mean=(0.5,), std=(0.5,)).setup()
