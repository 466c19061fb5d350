"""CIFAR-10 and CIFAR-100 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), binary version.

60,000 colour images of 32x32, of which the last 10,000 are the data's own test set; https://www.cs.toronto.edu/~kriz/
cifar.html describes the files. An image is its label (CIFAR-100: the coarse label, then the fine one), a byte each, and
1,024 bytes each of red, green and blue, row by row.
"""

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ptft.data.download import cache_folder, fetch_file
from ptft.data.image_arrays import ImageArrays
from ptft.data.image_batches import Augmentation
from ptft.data.in_memory import InMemoryImages
from ptft.data.split import Split
from ptft.errors import DataError
from ptft.types import NonNegativeInt, PositiveShare

HOME = "https://www.cs.toronto.edu/~kriz/"
SIDE = 32
LARGEST = 200_000_000
"""Bytes that an archive may unpack to: the published ones hold 184,380,000 in their data files."""
SMALL = 1 << 16
"""Bytes that a list of class names may have."""


class CIFAR(InMemoryImages):
    """What both data sets share; settings as told at `InMemoryImages`.

    `path` is the folder of the .bin files, a folder that holds theirs or the archive as downloaded, or that archive;
    without one the cache folder is looked at, and with `download` the archive is fetched there or into `path`.
    `split.val` is a share of the training images, `split.test` has no meaning.
    """

    folder = ""
    """What the archive calls its folder."""
    archive = ""
    digest = ""
    """SHA-256 of the archive as published."""
    python_names: tuple[str, ...] = ()
    """What gives away the version for Python, which consists of pickles."""
    train_files: tuple[str, ...] = ()
    test_file = "test_batch.bin"
    names_file = ""
    num_classes = 10
    label_bytes = 1
    label_place = 0
    """Which of the label's bytes is read."""

    def read(self) -> ImageArrays:
        """Read all files.

        Raises:
            DataError: They are missing or damaged, cannot be fetched, or are those of the version for Python.
        """
        files = self._files()
        parts = [self._labelled_rows(name, files[name]) for name in (*self.train_files, self.test_file)]
        rows = np.concatenate(parts)
        images = rows[:, self.label_bytes :].reshape(-1, 3, SIDE, SIDE)
        classes = self._classes(files[self.names_file])
        return ImageArrays(np.ascontiguousarray(images), rows[:, self.label_place], classes, num_test=len(parts[-1]))

    def _labelled_rows(self, name: str, content: bytes) -> npt.NDArray[np.uint8]:
        """Return the content of a file as one row an image: labels, then pixels."""
        length = self.label_bytes + 3 * SIDE * SIDE
        if not content or len(content) % length:
            raise DataError(
                f"{self.title}: {name} is damaged: expected a whole number of images of {length:,} bytes, "
                f"found {len(content):,} bytes"
            )
        return np.frombuffer(content, np.uint8).reshape(-1, length)

    def _classes(self, content: bytes) -> tuple[str, ...]:
        names = tuple(line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip())
        if len(names) != self.num_classes or len(set(names)) != len(names):
            raise DataError(f"{self.title}: expected {self.num_classes} names in {self.names_file}, found {len(names)}")
        return names

    def _files(self) -> dict[str, bytes]:
        """Return what the files hold, by their names; the archive is fetched first where that is asked for."""
        place = Path(self.path).expanduser() if self.path else cache_folder()
        if (found := self._find(place)) is not None:
            return found
        old = [place / name for name in self.python_names if (place / name).exists()]
        if not self.download:
            if old:
                raise DataError(
                    f"{old[0]} is the version for Python, which consists of pickles: reading those runs whatever they "
                    f"say, so ptft never does; take the binary version, {HOME}{self.archive}"
                )
            raise DataError(
                f"{self.title} was not found in {place}; give data.path=FOLDER with {self.archive} or the files in it, "
                f"or let ptft fetch it: data.download=true"
            )
        if place.exists() and not place.is_dir():
            raise DataError(f"{self.title}: data.path={place} is no folder to download into")
        fetch_file(HOME + self.archive, place / self.archive, self.digest)
        return self._unpacked(place / self.archive)

    def _find(self, place: Path) -> dict[str, bytes] | None:
        """Return the files in a folder, in the archive's own folder within, or in the archive; None if there are none.

        Raises:
            DataError: Some of the files are missing, or the archive is damaged.
        """
        names = (*self.train_files, self.test_file, self.names_file)
        for folder in (place, place / self.folder):
            there = [name for name in names if (folder / name).is_file()]
            if len(there) == len(names):
                return {name: _content(folder / name) for name in names}
            if any(name.endswith(".bin") for name in there):
                missing = ", ".join(name for name in names if name not in there)
                raise DataError(f"{self.title}: {folder} has {there[0]} but not {missing}; unpack {self.archive} whole")
        archive = place / self.archive if place.is_dir() else place
        return self._unpacked(archive) if archive.is_file() else None

    def _unpacked(self, archive: Path) -> dict[str, bytes]:
        """Return the files of an archive; only those known by name are read, and nothing is written anywhere."""
        names = {f"{self.folder}/{name}": name for name in (*self.train_files, self.test_file, self.names_file)}
        found: dict[str, bytes] = {}
        total = 0
        try:
            with tarfile.open(archive, "r:gz") as members:
                for member in members:
                    total += member.size
                    name = names.get(member.name.removeprefix("./"))
                    if total > LARGEST or (name == self.names_file and member.size > SMALL):
                        raise DataError(f"{archive} holds more than {self.title} does; fetch {HOME}{self.archive} anew")
                    if name is not None and member.isreg() and (file := members.extractfile(member)) is not None:
                        found[name] = file.read()
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise DataError(f"{archive} is damaged ({error}); fetch {HOME}{self.archive} anew") from error
        if missing := [name for name in names.values() if name not in found]:
            raise DataError(
                f"{archive} is not the binary version of {self.title}: it has no {self.folder}/{missing[0]}"
            )
        return found


class CIFAR10(CIFAR):
    """CIFAR-10: 10 classes, 5,000 training images each."""

    title = "cifar10"
    folder = "cifar-10-batches-bin"
    archive = "cifar-10-binary.tar.gz"
    digest = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    python_names = ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1")
    train_files = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    names_file = "batches.meta.txt"


class CIFAR100(CIFAR):
    """CIFAR-100: 100 classes, 500 training images each, in 20 coarser ones."""

    title = "cifar100"
    folder = "cifar-100-binary"
    archive = "cifar-100-binary.tar.gz"
    digest = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
    python_names = ("cifar-100-python", "cifar-100-python.tar.gz", "train")
    train_files = ("train.bin",)
    test_file = "test.bin"
    label_bytes = 2

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        *,
        labels: Literal["fine", "coarse"] = "fine",
        path: str | None = None,
        download: bool = False,
        label_fraction: PositiveShare = 1.0,
        num_workers: NonNegativeInt | Literal["auto"] = "auto",
        allow_changed: bool = False,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        split: Split | None = None,
    ) -> None:
        """Keep the settings.

        Args:
            augmentations: As at `InMemoryImages`, and so are all further ones.
            labels: `fine`: the 100 classes; `coarse`: the 20 they belong to.
            path: As told above.
            download: Whether the archive may be fetched.
            label_fraction: Share of the training labels to keep.
            num_workers: Threads that make training batches ahead.
            allow_changed: Read by resume: go on although the fingerprint is another.
            mean: Mean of each channel; None: that of the training split.
            std: Standard deviation of each channel; None: that of the training split.
            split: How to divide.
        """
        super().__init__(
            augmentations,
            path=path,
            download=download,
            label_fraction=label_fraction,
            num_workers=num_workers,
            allow_changed=allow_changed,
            mean=mean,
            std=std,
            split=split,
        )
        self.names_file = f"{labels}_label_names.txt"
        self.num_classes = 100 if labels == "fine" else 20
        self.label_place = 1 if labels == "fine" else 0


def _content(path: Path) -> bytes:
    """Return what a file holds, unless it is too large to be one of the known ones."""
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(
                f"{path} is {path.stat().st_size:,} bytes, more than the whole data set; is it another file?"
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
