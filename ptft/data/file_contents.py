"""What is in the files of a listing: a digest of all of them, and which are exact copies of one another.

Up to `FULL_BYTES` in total every byte is read. Of larger sets three blocks of each file are, which with its size tell
nearly any change, and only files that agree in both are read whole to see whether they are copies.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ptft.data.image_arrays import Rows
from ptft.data.listing import Listing, composed
from ptft.runtime.progress import progress
from ptft.runtime.threads import map_in_threads

FULL_BYTES = 1 << 30
"""Sets up to this size are read whole, which takes a second or two."""
BLOCK_BYTES = 4096
"""Of larger ones this much is read at the start, the middle and the end of each file."""
_THREADS = 4  # reading waits for the disk, and hashing releases the interpreter lock


@dataclass(frozen=True)
class Contents:
    """What the files of a listing hold.

    Attributes:
        fingerprint: SHA-256 of the names in their order and of what the files hold, in hexadecimal.
        copies: Rows of files with equal bytes, two or more in each, in rising order.
    """

    fingerprint: str
    copies: tuple[Rows, ...]

    def take(self, rows: Rows, size: int) -> "Contents":
        """Return the contents of some of `size` files, given in rising order; the fingerprint stays that of all."""
        place = np.full(size, -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        kept = [(new := place[group])[new >= 0] for group in self.copies]
        return Contents(self.fingerprint, tuple(group for group in kept if len(group) > 1))


def read_contents(root: Path, paths: Sequence[str]) -> Contents:
    """Read the files of a listing once.

    A file that cannot be read counts as one of its own: whoever decodes it says what is wrong.
    """
    files = [f"{root}/{path}" for path in paths]
    sizes = list(map_in_threads(_size, files, _THREADS))
    whole = sum(sizes) <= FULL_BYTES
    digests = []
    with progress("reading files", len(files), "files") as advance:
        for part in map_in_threads(partial(_or_nothing, _whole if whole else _sampled), files, _THREADS):
            digests.append(part)
            advance(1)
    digest = hashlib.sha256()
    for path, size, part in zip(paths, sizes, digests, strict=True):
        digest.update(composed(path).encode() + b"\0" + size.to_bytes(8, "little", signed=True) + part)
    keys = [(size, part) if part else None for size, part in zip(sizes, digests, strict=True)]
    same = _equal(range(len(files)), keys)
    if not whole:
        suspects = [row for group in same for row in group]
        again = map_in_threads(partial(_or_nothing, _whole), [files[row] for row in suspects], _THREADS)
        same = _equal(suspects, [part or None for part in again])
    return Contents(digest.hexdigest(), tuple(np.array(group, dtype=np.int64) for group in same))


def _equal(rows: Sequence[int], keys: Sequence[object]) -> list[list[int]]:
    """Return the rows that share a key, where several do; a key of None is never shared."""
    groups: dict[object, list[int]] = defaultdict(list)
    for row, key in zip(rows, keys, strict=True):
        if key is not None:
            groups[key].append(row)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _or_nothing(read: Callable[[str], bytes], file: str) -> bytes:
    """Return the digest of a file, or nothing where it cannot be read."""
    try:
        return read(file)
    except OSError:
        return b""


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size  # noqa: PTH116 - a million Path objects take seconds
    except OSError:
        return -1


def _whole(file: str) -> bytes:
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
        return hashlib.file_digest(opened, "sha256").digest()


def _sampled(file: str) -> bytes:
    digest = hashlib.sha256()
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
        size = os.fstat(opened.fileno()).st_size
        for start in sorted({0, max(0, size // 2 - BLOCK_BYTES // 2), max(0, size - BLOCK_BYTES)}):
            opened.seek(start)
            digest.update(opened.read(BLOCK_BYTES))
    return digest.digest()


def fingerprint(contents: Contents, listing: Listing, rows: Mapping[str, Rows], kept: Rows) -> str:
    """Return the SHA-256 of a data set in files, in hexadecimal.

    Args:
        contents: What all its files hold, those left out too.
        listing: The files that are used, with their labels.
        rows: Rows of each split.
        kept: Which of all files are used.
    """
    digest = hashlib.sha256(repr((contents.fingerprint, listing.classes)).encode())
    for name, values in (("kept", kept), ("labels", listing.labels), *sorted(rows.items())):
        digest.update(f"{name} {len(values)}".encode() + np.ascontiguousarray(values, dtype="<i8").tobytes())
    return digest.hexdigest()
