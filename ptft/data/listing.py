"""A list of picture files: their names relative to one folder, their labels, splits and further columns.

The order is that of the names' Unicode code points after composing them (NFC), so no disk, locale or machine changes
it: a disk that stores `é` as two code points lists its files in the order of one that stores it as one. How files are
found stands in `listing_folder.py` (folders) and `listing_csv.py` (a table).
"""

import dataclasses
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ptft.data.image_arrays import Rows
from ptft.errors import DataError

PICTURES = frozenset(
    f".{suffix}"
    for suffix in "jpg jpeg jpe jfif png gif bmp dib webp tif tiff avif ppm pgm pbm pnm".split()  # noqa: SIM905
)
"""Suffixes of picture files, in small letters; what a file really holds is seen when it is read."""
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What folders and csv rows call the splits, in small letters."""
UNLABELLED = -1


@dataclass(frozen=True)
class Listing:
    """Picture files and what is known of each without opening it.

    Attributes:
        root: The folder, resolved; nothing outside it is read.
        paths: (N) names relative to it, with `/`, in the order of their composed code points.
        labels: (N,) int64 class numbers; -1 without labels.
        classes: Names of the classes, composed, in their order; empty without labels.
        splits: Rows of each split that the folders or a csv column give, in rising order; None: none are given.
        columns: Further columns of a csv by name, one text an example.
        notes: What a person should know of how the files were found.
    """

    root: Path
    paths: tuple[str, ...]
    labels: Rows
    classes: tuple[str, ...] = ()
    splits: Mapping[str, Rows] | None = None
    columns: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Rows) -> "Listing":
        """Return the listing of some rows, given in rising order; the classes stay."""
        if len(rows) == len(self):
            return self
        place = np.full(len(self), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        splits = {name: _kept(place[old]) for name, old in (self.splits or {}).items()}
        return dataclasses.replace(
            self,
            paths=tuple(self.paths[row] for row in rows),
            labels=self.labels[rows],
            splits=splits if self.splits is not None else None,
            columns={name: tuple(values[row] for row in rows) for name, values in self.columns.items()},
        )

    def folders(self) -> tuple[str, ...]:
        """Return the folder of each file, relative to the root; `.` is the root itself."""
        return tuple(str(PurePosixPath(path).parent) for path in self.paths)


def _kept(places: Rows) -> Rows:
    return places[places >= 0]


def make_listing(
    root: Path,
    paths: Sequence[str],
    names: Sequence[str] | None,
    *,
    parts: Sequence[str] | None = None,
    columns: Mapping[str, Sequence[str]] | None = None,
    notes: Sequence[str] = (),
    where: Callable[[int], str],
) -> Listing:
    """Return a listing in order.

    Args:
        root: The folder, resolved.
        paths: Names relative to it, in any order, each once.
        names: The class of each as its source writes it; None: without labels.
        parts: The split of each: train, val or test; None: none are given.
        columns: Further columns.
        notes: What a person should know.
        where: Says where the label of an example (by its place in `paths`) was given, for errors.

    Raises:
        DataError: No file, class names that clash, or a class that only val or test have.
    """
    if not paths:
        raise DataError(f"{root} holds no pictures; ptft reads {', '.join(sorted(PICTURES))}")
    order = sorted(range(len(paths)), key=lambda place: (composed(paths[place]), paths[place]))
    labels = np.full(len(paths), UNLABELLED, dtype=np.int64)
    classes: tuple[str, ...] = ()
    if names is not None:
        check_class_names(names, where)
        if parts is not None:
            _check_classes_agree(names, parts, where)
        classes = tuple(sorted({composed(name) for name in names}))
        numbers = {name: number for number, name in enumerate(classes)}
        labels = np.array([numbers[composed(names[place])] for place in order], dtype=np.int64)
    splits = None
    if parts is not None:
        given = np.array([parts[place] for place in order])
        splits = {name: np.flatnonzero(given == name) for name in ("train", "val", "test") if (given == name).any()}
    return Listing(
        root=root,
        paths=tuple(paths[place] for place in order),
        labels=labels,
        classes=classes,
        splits=splits,
        columns={name: tuple(values[place] for place in order) for name, values in (columns or {}).items()},
        notes=tuple(notes),
    )


def check_class_names(names: Sequence[str], where: Callable[[int], str]) -> None:
    """Refuse class names that differ only in case or in how Unicode writes them: one of the two is a slip.

    Raises:
        DataError: Two names clash.
    """
    first: dict[str, int] = {}
    known: dict[str, str] = {}
    for place, name in enumerate(names):
        if name in known:
            continue
        known[name] = key = composed(composed(name).casefold())
        if key in first:
            other = names[first[key]]
            same = composed(other) == composed(name)
            how = "only in how Unicode writes them (NFC, NFD)" if same else "only in upper and lower case"
            shown = (ascii(other), ascii(name)) if same else (quoted(other), quoted(name))
            raise DataError(
                f"the classes {shown[0]} ({where(first[key])}) and {shown[1]} ({where(place)}) differ {how}; "
                "rename one, or put them together"
            )
        first[key] = place


def _check_classes_agree(names: Sequence[str], parts: Sequence[str], where: Callable[[int], str]) -> None:
    trained = {composed(name) for name, part in zip(names, parts, strict=True) if part == "train"}
    for place, (name, part) in enumerate(zip(names, parts, strict=True)):
        if composed(name) not in trained:
            raise DataError(
                f"the class {quoted(name)} of {part} ({where(place)}) has no example in train, which holds "
                f"{listed(sorted(trained))}; a model cannot learn it: add training pictures, or take it out of {part}"
            )


def check_several_classes(listing: Listing, title: str) -> None:
    """Refuse pictures that all have the same label; without labels there is nothing to refuse.

    Raises:
        DataError: There is one class only.
    """
    present = np.unique(listing.labels)
    if listing.classes and len(present) < 2:
        raise DataError(
            f"{title}: all {len(listing):,} pictures in {listing.root} are of the class "
            f"{quoted(listing.classes[present[0]])}; give at least two classes, or train without labels: "
            "data.labels=false"
        )


def composed(text: str) -> str:
    """Return a text with its Unicode characters composed (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def quoted(text: str) -> str:
    """Return a name for a message: in backticks, or as Python writes it where it holds what a terminal cannot show."""
    return f"`{text}`" if text.isprintable() and text else ascii(text)


def listed(names: Iterable[str], most: int = 8) -> str:
    """Return names for a message: the first few, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(quoted(name) for name in every[:most]) + more or "none"


def is_picture(name: str) -> bool:
    """Tell whether a file name ends like that of a picture."""
    return PurePosixPath(name).suffix.lower() in PICTURES
