"""Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv 1708.07747, MIT licence): 70,000 clothes, 28x28 grey, 10 classes.

The data's own 10,000 test images are the test split, numbered 60,000 to 69,999; validation is taken from the 60,000.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ptft.data.download import cache_folder, check_allowed
from ptft.data.idx import read_idx
from ptft.data.image_arrays import ImageArrays
from ptft.data.in_memory import InMemoryImages
from ptft.errors import DataError

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FILES = tuple(f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""
CONNECT_SECONDS = 5.0


class FashionMNIST(InMemoryImages):
    """Fashion-MNIST from four idx files, plain or gzipped; settings as told at `InMemoryImages`.

    `path` is their folder; without one they are looked for where Debian puts them, then in the cache folder, and with
    `download` missing ones are fetched into `path` or the cache folder. `split.val` is a share of the 60,000 training
    images, `split.test` has no meaning; `label_fraction=0.01111` of the 54,000 left is 600.
    """

    title = "fashion_mnist"

    def read(self) -> ImageArrays:
        """Read the four files.

        Raises:
            DataError: They are missing or damaged, or cannot be fetched.
        """
        files = self._find()
        images = [read_idx(files[name]) for name in FILES[0::2]]
        labels = [read_idx(files[name]) for name in FILES[1::2]]
        for name, array, dimensions in zip(
            FILES, (images[0], labels[0], images[1], labels[1]), (3, 1, 3, 1), strict=True
        ):
            if array.ndim != dimensions or array.dtype != np.uint8:
                raise DataError(
                    f"{files[name]}: expected bytes in {dimensions} dimensions, found {array.dtype} {array.shape}"
                )
        for part, name in zip((0, 1), FILES[1::2], strict=True):
            if len(images[part]) != len(labels[part]):
                raise DataError(f"{files[name]}: expected {len(images[part])} labels, found {len(labels[part])}")
        if images[0].shape[1:] != images[1].shape[1:]:
            raise DataError(f"training images are {images[0].shape[1:]}, test images {images[1].shape[1:]}")
        return ImageArrays(np.concatenate(images)[:, None], np.concatenate(labels), CLASSES, num_test=len(images[1]))

    def _find(self) -> dict[str, Path]:
        """Return the four files, fetched first where that is asked for."""
        folders = [Path(self.path).expanduser()] if self.path else [SYSTEM_FOLDER, cache_folder()]
        for folder in folders:
            if found := find_files(folder):
                return found
        if self.download:
            fetch(folders[-1])
            if found := find_files(folders[-1]):
                return found
        raise DataError(
            f"Fashion-MNIST was not found in {' or '.join(str(folder) for folder in folders)}; give data.path=FOLDER "
            f"with the four files ({FILES[0]}.gz ...), or install Debian's package dataset-fashion-mnist, "
            "or let ptft fetch it: data.download=true"
        )


def find_files(folder: Path) -> dict[str, Path]:
    """Return the four files in a folder, or in the sub-folder that torchvision makes there; empty if one is missing."""
    for place in (folder, folder / "FashionMNIST" / "raw"):
        found = {name: file for name in FILES for file in (place / f"{name}.gz", place / name) if file.is_file()}
        if len(found) == len(FILES):
            return found
    return {}


def fetch(folder: Path) -> None:
    """Fetch the data set with torchvision, which checks its digests.

    Raises:
        DataError: There is no network, or going there is forbidden.
    """
    check_allowed(folder)
    from torchvision.datasets import FashionMNIST as Fetcher

    try:
        with _connecting_within(CONNECT_SECONDS):
            Fetcher(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"cannot fetch Fashion-MNIST ({error}); put its four files into {folder}") from error


@contextmanager
def _connecting_within(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
