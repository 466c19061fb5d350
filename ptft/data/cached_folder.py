"""Folders of files that are made once, kept on the disk and shared by all runs.

Such a folder is made under another name and renamed when it is whole, so that nobody ever finds half of one; a process
that is killed leaves a folder that the next one removes. What has the same key is the same, so none is ever changed.
"""

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ptft.errors import DataError
from ptft.runtime import files as disk

Opened = TypeVar("Opened")


def made_once(
    path: Path, build: Callable[[Path], None], opened: Callable[[Path], Opened], what: str
) -> tuple[Opened, str]:
    """Return what a cached folder holds, made if it is not there, and a warning if it was there but damaged.

    Args:
        path: Where the folder lies, or will; its parents are made.
        build: Fills an empty folder.
        opened: Opens a folder.
        what: What messages call it: `the cache of tokens`.

    Raises:
        DataError: The place cannot be written to, or has no room.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found, warning = _opened(path, opened, what)
        if found is None:
            with alone(path):
                found, _ = _opened(path, opened, what)  # another process may have made it while this one waited
                if found is None:
                    _build(path, build)
                    found = opened(path)
        return found, warning
    except OSError as error:
        raise DataError(
            f"cannot write {what} {path}: {error.strerror or error}; free some room, or give another data.cache_folder"
        ) from error


def _opened(path: Path, opened: Callable[[Path], Opened], what: str) -> tuple[Opened | None, str]:
    if not path.exists():
        return None, ""
    try:
        return opened(path), ""
    except (ValueError, KeyError, FileNotFoundError) as error:
        return None, f"{what} {path} was damaged, as {error}; it was built anew"


def _build(path: Path, build: Callable[[Path], None]) -> None:
    for left in path.parent.glob(f".tmp-{path.name}-*"):  # of a process that was killed
        disk.remove(left)
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir()
        build(temporary)
        for file in sorted(temporary.iterdir()):
            _sync(file)
        disk.sync_directory(temporary)
        disk.remove(path)  # a damaged one
        disk.rename(temporary, path)
        disk.sync_directory(path.parent)
    finally:
        disk.remove(temporary)


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process builds the same thing; where locks are not supported, go on without one."""
    with path.with_name(f".lock-{path.name}").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOLCK, errno.EINVAL):
                raise
        yield
