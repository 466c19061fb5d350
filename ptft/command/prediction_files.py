"""Lines of standard input, the texts of a folder, and how many rows a file holds."""

import os
import select
from collections.abc import Iterator
from pathlib import Path

from ptft.data.listing import PICTURES
from ptft.data.text.read_table import FORMATS, undecodable
from ptft.errors import DataError
from ptft.runtime.records import whole_rows

_PATIENCE_SECONDS = 0.2
"""How long rows that were read wait for further ones."""
_BLOCK = 1 << 16
_COUNTED_BYTES = 2 << 30
"""Files up to this size are gone through once to count their rows, at a second for a gigabyte."""
_LARGEST_BYTES = 64 << 20
"""Bytes of a text file that is one row; a larger one is no text that a model reads."""


def lines_of_input(descriptor: int) -> Iterator[str | None]:
    """Yield the lines of an open file without their ends; None whenever the next one lets wait for itself.

    Bytes that are no UTF-8 become surrogates.
    """
    parts: list[bytes] = []  # of the line that has no end yet
    first = True
    waited = False
    while True:
        if not waited and not select.select([descriptor], [], [], _PATIENCE_SECONDS)[0]:
            waited = True
            yield None
        block = os.read(descriptor, _BLOCK)
        waited = False
        *lines, rest = block.split(b"\n")
        if lines or not block:
            ended = b"".join([*parts, *lines[:1]])
            lines = [ended, *lines[1:]] if lines or ended else []
            parts = []
        parts.append(rest)
        for line in lines:
            text = line.removesuffix(b"\r").decode(errors="surrogateescape")
            yield text.removeprefix("\ufeff") if first else text
            first = False
        if not block:
            return


def num_rows(path: Path) -> int | None:
    """Return how many rows a table holds, about: blank lines count; None: it is too large to be gone through."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            import pyarrow.parquet

            return int(pyarrow.parquet.read_metadata(path).num_rows)
        if path.stat().st_size > _COUNTED_BYTES:
            return None
        count, end = whole_rows(path, quoted=suffix == ".csv")
        count += end < path.stat().st_size  # a last line without its end
        return max(count - (suffix in (".csv", ".tsv")), 0)
    except (OSError, ValueError):
        return None  # what is wrong is told when it is read


def text_files(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield the names of the files of a folder and of those in it, sorted; not hidden ones, tables and pictures.

    Raises:
        DataError: A folder cannot be read.
    """
    try:
        entries = sorted(os.scandir(folder / prefix), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"the folder {folder / prefix} cannot be read: {error.strerror}") from None
    for entry in entries:
        name = prefix + entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from text_files(folder, f"{name}/")
        elif entry.is_file() and Path(entry.name).suffix.lower() not in {*FORMATS, *PICTURES}:
            yield name


def text_of(path: Path, encoding: str) -> str:
    """Return all of a text file.

    Raises:
        DataError: It cannot be read, or is no text.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise DataError(f"it has more than {_LARGEST_BYTES >> 20} MB; cut it up, or give its lines as a .txt")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror}") from None
    if encoding == "utf-8" and b"\0" in data:
        raise DataError("it holds zero bytes, so it is no text in UTF-8")
    text = data.removeprefix(b"\xef\xbb\xbf").decode(encoding, errors="surrogateescape")
    if reason := undecodable(text):
        raise DataError(reason)
    return text
