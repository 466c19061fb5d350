"""A disk that dies, refuses or forgets at a chosen call of `ptft.runtime.files`."""

import shutil
import tempfile
from pathlib import Path

import pytest

from ptft.runtime import files

CALLS = ("write", "rename", "sync_directory", "make_directory", "ensure_directory", "remove", "append")


class Killed(BaseException):
    """The process is dead: no `except Exception` may act."""


class FaultyDisk:
    """Counts the calls within the block; at number `call` it dies before, within or after it.

    Within a write half of the bytes are there; within a removal one file is gone.
    """

    def __init__(self, call: int | None = None, moment: str = "before") -> None:
        self.call, self.moment = call, moment
        self.count = 0
        self.armed = True
        self._patch = pytest.MonkeyPatch()

    def die(self) -> None:
        raise Killed

    def __enter__(self):
        for name in CALLS:
            self._patch.setattr(files, name, self._faulty(name, getattr(files, name)))
        return self

    def __exit__(self, *exception):
        self._patch.undo()

    def _faulty(self, name, original):
        def call(*arguments):
            number, self.count = self.count, self.count + 1
            now = self.armed and number == self.call
            if now and self.moment != "after":
                self.armed = False  # what tidies up afterwards meets a disk that works
                if self.moment == "within":
                    _do_half(name, arguments)
                self.die()
            original(*arguments)
            if now:
                self.armed = False
                self.die()

        return call


def _do_half(name, arguments):
    if name == "write":
        path, data = arguments
        path.write_bytes(data[: len(data) // 2])
    elif name == "remove" and arguments[0].is_dir():
        next(path for path in arguments[0].rglob("*") if path.is_file()).unlink()


class PowerCut:
    """Undoes, when the disk dies, every change to a directory that was not yet synced: none of them is sure to last.

    The bytes of a file are synced by `write`; the names of files by `sync_directory` of their directory.
    """

    def __init__(self, disk: FaultyDisk) -> None:
        self.disk = disk
        self._undo: list[tuple[Path, Path | None]] = []
        self._patch = pytest.MonkeyPatch()
        self._kept = Path(tempfile.mkdtemp())

    def __enter__(self):
        self.disk.__enter__()
        for name in CALLS:
            self._patch.setattr(files, name, self._remembering(name, getattr(files, name)))
        return self

    def __exit__(self, kind, error, trace):
        self._patch.undo()
        self.disk.__exit__()
        if kind is Killed:
            self.lose()
        shutil.rmtree(self._kept)
        return kind is Killed

    def lose(self):
        """Cut the power."""
        for path, before in reversed(self._undo):
            files.remove(path)
            if before is not None:
                shutil.move(before, path)
        self._undo.clear()

    def _remember(self, path: Path):
        """Keep what a path is now."""
        before = None
        if path.exists():
            before = Path(tempfile.mkdtemp(dir=self._kept)) / path.name
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, before)
        self._undo.append((path, before))

    def _remembering(self, name, original):
        def call(*arguments):
            path = arguments[0]
            if name == "sync_directory":
                original(*arguments)
                self._undo = [entry for entry in self._undo if entry[0].parent != path]
                return
            if name == "rename":
                self._remember(arguments[1])
                self._remember(path)
            elif name in ("write", "make_directory", "remove") or not path.exists():
                self._remember(path)
            original(*arguments)

        return call
