"""Labelled images as arrays: what a data set is read into, its checks, its statistics and its fingerprint."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ptft.data.data_module import DataSpec
from ptft.errors import DataError
from ptft.runtime.text import shortened

Rows = npt.NDArray[np.int64]
"""Numbers of examples."""


@dataclass(frozen=True)
class ImageArrays:
    """What a data set is read into.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) whole numbers in [0, len(classes)).
        classes: Names of the classes in the order of their numbers.
        num_test: How many examples at the end are the data's own test set; 0: it has none.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.integer[Any]]
    classes: tuple[str, ...]
    num_test: int = 0


def check_arrays(arrays: ImageArrays, title: str) -> None:
    """Check that a data set, called `title` in errors, can be trained on.

    Raises:
        DataError: It is empty, of a wrong type or shape, of one class only, or has labels outside its classes.
    """
    images, labels = arrays.images, arrays.labels
    if images.ndim != 4 or images.dtype != np.uint8:
        raise DataError(f"{title}: expected images (N, C, H, W) of uint8, found {images.shape} of {images.dtype}")
    if images.size == 0:
        raise DataError(f"{title} holds no images (shape {images.shape}); check data.path")
    if labels.shape != images.shape[:1]:
        raise DataError(f"{title}: expected one label for each of {len(images)} images, found shape {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{title}: expected labels that are whole numbers, found {labels.dtype}")
    outside = np.flatnonzero((labels < 0) | (labels >= len(arrays.classes)))
    if len(outside):
        raise DataError(
            f"{title}: expected labels from 0 to {len(arrays.classes) - 1}, found {labels[outside[0]]} "
            f"at example {outside[0]} ({len(outside)} such labels)"
        )
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"{title}: all {len(labels)} labels are `{arrays.classes[labels[0]]}`; give at least two classes"
        )


def class_difference(first: Sequence[str], second: Sequence[str], one: str, other: str) -> str:
    """Return in words how the classes of two sides, called `one` and `other`, differ; nothing where they agree.

    Sides that name the same classes in another order differ: the place of a class is its number.
    """
    if tuple(first) == tuple(second):
        return ""
    left, right = set(first), set(second)
    sides = (
        (one, [name for name in second if name not in left]),
        (other, [name for name in first if name not in right]),
    )
    found = [f"{_listed(names)} missing in {side}" for side, names in sides if names]
    if not found:
        place = next(place for place, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
        found = [f"another order: class {place} is `{first[place]}` for {one}, `{second[place]}` for {other}"]
    return f"{', '.join(found)} ({len(first)} and {len(second)} classes)"


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{shortened(name, 40)}`" for name in names[:most]) + more


def check_fit(own: DataSpec, given: DataSpec, title: str) -> None:
    """Check that data with the specification `own` can be read as `given`, the one a model was trained with.

    Raises:
        DataError: Shape, classes or statistics do not fit.
    """
    for what in ("kind", "shape"):
        if getattr(own, what) != getattr(given, what):
            raise DataError(
                f"{title}: the model was made for {what} {getattr(given, what)}, the data have {getattr(own, what)}; "
                "use the data it was made for, or make a new model with init_from="
            )
    if given.classes and not own.classes:
        raise DataError(
            f"{title}: the data have no labels, and the model was made for {len(given.classes):,} classes; give each "
            "picture its label, by a folder for each class or by a csv"
        )
    if wrong := class_difference(given.classes, own.classes, "the model", "the data"):
        raise DataError(
            f"{title}: the classes are not those that the model was made for: {wrong}. Predictions are "
            "places in this list, so that another list would judge them wrongly; use data of the same classes in the "
            "same order, or make a new model with init_from="
        )
    for key in sorted({*own.preprocessing, *given.preprocessing}):
        before, now = given.preprocessing.get(key), own.preprocessing.get(key)
        if before != now:
            raise DataError(
                f"{title}: the model was made for images prepared with data.{key}={before}, now it is {now}; "
                f"leave data.{key} as it was, or make a new model with init_from="
            )
    if len(given.mean) != own.shape[0] or len(given.std) != own.shape[0]:
        raise DataError(f"{title}: expected mean and std of {own.shape[0]} channels, found {given.mean}, {given.std}")


def pixel_statistics(
    images: npt.NDArray[np.uint8], rows: Rows, chunk: int = 8192
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of some rows, in [0, 1]: see `statistics_of`."""
    return statistics_of(images[rows[start : start + chunk]] for start in range(0, len(rows), chunk))


def statistics_of(parts: Iterable[npt.NDArray[np.uint8]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, in [0, 1], from exact counts of the 256 values.

    A channel that is the same everywhere gets the standard deviation 1, so that normalising only centres it.

    Args:
        parts: The images, (n, C, H, W) in each part.
    """
    counts: npt.NDArray[np.int64] | None = None
    for part in parts:
        own = [np.bincount(part[:, channel].ravel(), minlength=256) for channel in range(part.shape[1])]
        counts = np.array(own) if counts is None else counts + own
    assert counts is not None, "some images"
    total, values = counts.sum(axis=1), np.arange(256)
    mean = (counts * values).sum(axis=1) / total / 255  # whole numbers until the division: the order of adding is free
    std = np.sqrt((counts * (values / 255 - mean[:, None]) ** 2).sum(axis=1) / total)
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())


def fingerprint(arrays: ImageArrays, rows: Mapping[str, Rows]) -> str:
    """Return the SHA-256 of pixels, labels, class names and the rows of each split, in hexadecimal."""
    digest = hashlib.sha256(repr((arrays.images.shape, arrays.classes)).encode())
    digest.update(np.ascontiguousarray(arrays.images).data)
    digest.update(np.ascontiguousarray(arrays.labels, dtype="<i8").data)
    for name in sorted(rows):
        digest.update(f"{name} {len(rows[name])}".encode())
        digest.update(np.ascontiguousarray(rows[name], dtype="<i8").data)
    return digest.hexdigest()
