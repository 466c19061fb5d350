"""Fashion-MNIST: found where it may be, refused where it is not whole, fetched only when asked."""

import gzip
import struct

import numpy as np
import pytest
import torch

from ptft.data.data_module import BatchPlan
from ptft.data.vision import fashion_mnist
from ptft.data.vision.fashion_mnist import CLASSES, FILES, FashionMNIST
from ptft.errors import DataError

SMALL = {"train": 50, "t10k": 20}


def content(name, count):
    generator = np.random.default_rng(len(name))
    if "images" in name:
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        return bytes([0, 0, 8, 3]) + struct.pack(">3I", *pixels.shape) + pixels.tobytes()
    return bytes([0, 0, 8, 1]) + struct.pack(">I", count) + bytes(np.arange(count, dtype=np.uint8) % 10)


def write(folder, zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        data = content(name, SMALL[name.partition("-")[0]])
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data, 1))
        else:
            (folder / name).write_bytes(data)


INSTALLED = fashion_mnist.SYSTEM_FOLDER


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["given", "given/FashionMNIST/raw", "system", "cache/ptft"])
def test_files_are_found_where_they_may_lie(tmp_path, place, zipped):
    write(tmp_path / place, zipped)
    data = FashionMNIST([], path=str(tmp_path / "given") if place.startswith("given") else None)
    data.setup()
    assert data.describe() == "fashion_mnist: 45 train, 5 val, 20 test; 1x28x28, 10 classes"
    assert data.spec.classes == CLASSES


def test_the_datas_own_test_set_is_the_test_split(tmp_path):
    write(tmp_path / "system")
    data = FashionMNIST([], split={"test": 0.5})
    data.setup()
    batches = list(data.evaluation_loaders(BatchPlan(batch_size=6))["test"])
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(50, 70))
    assert torch.cat([batch["label"] for batch in batches]).tolist() == [number % 10 for number in range(20)]


def test_missing_data_are_refused_with_all_three_ways_out(tmp_path):
    with pytest.raises(DataError, match=r"data\.path=FOLDER.*dataset-fashion-mnist.*data\.download=true"):
        FashionMNIST([]).setup()


def test_a_path_given_is_the_only_place_looked_at(tmp_path):
    write(tmp_path / "system")
    (tmp_path / "given").mkdir()
    with pytest.raises(DataError, match=r"not found in .*given;"):
        FashionMNIST([], path=str(tmp_path / "given")).setup()


def test_one_missing_file_is_as_bad_as_all(tmp_path):
    write(tmp_path / "system")
    (tmp_path / "system" / f"{FILES[3]}.gz").unlink()
    with pytest.raises(DataError, match="was not found"):
        FashionMNIST([]).setup()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (FILES[0], content(FILES[0], 50)[:-5], "damaged"),
        (FILES[0], content(FILES[1], 50), "expected bytes in 3 dimensions"),
        (FILES[1], content(FILES[1], 49), "expected 50 labels, found 49"),
        (FILES[1], content(FILES[1], 50)[:-1] + b"\x0a", "labels from 0 to 9, found 10 at example 49"),
        (FILES[2], bytes([0, 0, 8, 3]) + struct.pack(">3I", 20, 4, 4) + bytes(320), r"test images \(4, 4\)"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, data, message):
    write(tmp_path / "system", zipped=False)
    (tmp_path / "system" / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        FashionMNIST([]).setup()


@pytest.mark.parametrize("path", [None, "given"])
def test_a_download_goes_to_the_path_or_the_cache(tmp_path, monkeypatch, path):
    import torchvision.datasets

    asked = []

    def fetcher(root, download):
        asked.append((root, download))
        write(tmp_path.__class__(root) / "FashionMNIST" / "raw")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetcher)
    target = tmp_path / (path or "cache/ptft")
    for _ in range(2):  # the second time nothing is fetched
        data = FashionMNIST([], path=str(target) if path else None, download=True)
        data.setup()
        assert data.num_examples == 45
    assert asked == [(str(target), True)]


def test_a_failed_download_says_where_to_put_the_files(tmp_path, monkeypatch):
    import torchvision.datasets

    def fetcher(root, download):
        raise RuntimeError("Error downloading train-images")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetcher)
    with pytest.raises(
        DataError, match=r"cannot fetch Fashion-MNIST .Error downloading.*put its four files into .*cache"
    ):
        FashionMNIST([], download=True).setup()


def test_offline_forbids_the_download(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="HF_HUB_OFFLINE forbids that"):
        FashionMNIST([], download=True).setup()


@pytest.mark.skipif(not INSTALLED.exists(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_the_real_data_are_whole():
    data = FashionMNIST([], path=str(INSTALLED), label_fraction=0.01111)
    data.setup()
    assert data.describe().startswith("fashion_mnist: 600 train, 6,000 val, 10,000 test")
    assert abs(data.spec.mean[0] - 0.2860) < 5e-4 and abs(data.spec.std[0] - 0.3530) < 5e-4  # as widely published
    labels = torch.cat([batch["label"] for batch in data.evaluation_loaders(BatchPlan(batch_size=600))["train"]])
    assert torch.bincount(labels).tolist() == [60] * 10


def test_labels_of_the_other_part_are_refused(tmp_path):
    write(tmp_path, zipped=False)
    first, second = (tmp_path / name for name in FILES[1::2])
    swapped = second.read_bytes(), first.read_bytes()
    first.write_bytes(swapped[0])
    second.write_bytes(swapped[1])
    with pytest.raises(DataError, match="expected 50 labels, found 20"):
        FashionMNIST([], path=str(tmp_path)).setup()
