"""Every change ptft makes to the file system, in one small module, so that a test can fail each call.

Callers write `files.write(...)`, never `Path.write_bytes`, for whatever must survive a crash. A file counts as written
once its bytes and its directory entry are on the disk: data are fsynced, then renamed, then the parent is fsynced.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ptft.errors import CheckpointError


def write(path: Path, data: bytes) -> None:
    """Write a new file and push it to the disk; not atomic by itself: see `replace_with`."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def rename(source: Path, target: Path) -> None:
    """Rename a file or directory over an equal target, atomically."""
    source.replace(target)


def sync_directory(path: Path) -> None:
    """Push the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_with(path: Path, data: bytes) -> None:
    """Replace a file as a whole: at any moment a reader finds the old bytes or the new ones."""
    temporary = path.with_name(f".tmp-{path.name}")
    write(temporary, data)
    rename(temporary, path)
    sync_directory(path.parent)


def append(path: Path, text: str) -> None:
    """Add text to the end of a file; a crash loses at most its last line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def make_directory(path: Path) -> None:
    """Make a directory that must not exist yet, and its parents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir()


def remove(path: Path) -> None:
    """Remove a file or a whole directory; a missing one is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold a directory for this process alone; the kernel lets go of it when the process dies, however it dies.

    Raises:
        CheckpointError: Another process holds it.
    """
    path = directory / ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "another process"
            raise CheckpointError(
                f"{directory} is in use by {holder}; wait for it to end or take another name"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield
    finally:
        os.close(descriptor)
