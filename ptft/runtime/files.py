"""Every change ptft makes to the file system, in one small module, so that a test can fail each call.

Callers write `files.write(...)`, never `Path.write_bytes`, for whatever must survive a crash. A file counts as written
once its bytes and its directory entry are on the disk: data are fsynced, then renamed, then the parent is fsynced.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
import weakref
from pathlib import Path

from ptft.errors import CheckpointError

_TRANSIENT = (errno.EIO, errno.ESTALE)
LOCK_NAME = ".lock"
_PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each further attempt to write to a disk that fails in passing, as network disks do."""


def write(path: Path, data: bytes) -> None:
    """Write a new file and push it to the disk; not atomic by itself: see `replace_with`.

    EIO and ESTALE are tried again, each time from the first byte: after a failed fsync the kernel may have dropped what
    was not yet on the disk.
    """
    for pause in (*_PAUSES, None):
        try:
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return
        except OSError as error:
            if pause is None or error.errno not in _TRANSIENT:
                raise
            time.sleep(pause)


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


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes to an open file, all of them: the system may take a part at a time."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def make_directory(path: Path) -> None:
    """Make a directory that must not exist yet, and its parents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir()
    sync_directory(path.parent)


def ensure_directory(path: Path) -> None:
    """Make a directory where there is none; its parent must exist, so that a run that was deleted stays deleted."""
    if not path.is_dir():
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file or a whole directory; a missing one is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def free_bytes(path: Path) -> int:
    """Return the free space of the disk that holds a directory."""
    return shutil.disk_usage(path).free


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Lock:
    """A directory held for this process alone; the kernel lets go of it when the process dies, however it dies.

    Raises:
        CheckpointError: Another process holds it.
    """

    def __init__(self, directory: Path) -> None:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._file.read(100).decode(errors="replace").strip() or "another process"
            self._file.close()
            raise CheckpointError(
                f"{directory} is in use by {holder}; wait for it to end or take another name"
            ) from None
        self._file.truncate()
        self._file.write(f"process {os.getpid()} on {os.uname().nodename}".encode())
        _HELD.add(self)

    def release(self) -> None:
        """Let go of the directory, at once for the children too."""
        if not self._file.closed:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()

    def close_inherited(self) -> None:
        """Close the copy that a forked child has; the lock stays with the parent."""
        self._file.close()


_HELD: weakref.WeakSet[Lock] = weakref.WeakSet()


def _release_inherited() -> None:
    """Close what a forked process inherited: a worker that outlives its parent must not hold the parent's runs."""
    for lock in _HELD:
        lock.close_inherited()


os.register_at_fork(after_in_child=_release_inherited)
