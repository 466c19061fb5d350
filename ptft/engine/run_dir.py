"""The run directory: made exclusively, locked while in use, and the only thing that passes between commands.

run.json       id, command, argv, parents, status, exit code, error, times, versions, plan
config.yaml    the resolved config        .hydra/  Hydra's own snapshot
log.txt  metrics.jsonl  checkpoints/  model/  summary.json  predictions.csv  report/
"""

import contextlib
import json
import math
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptft.errors import CheckpointError
from ptft.runtime import files

_ASIDE = ".replaced"
"""Where `overwrite` keeps the old run until the new one has begun."""


class NameTakenError(CheckpointError):
    """A run of that name exists."""


class RunDirectory:
    """One run on the disk: `create` a new one, `resume` an old one, or `reopen` one to read it.

    The first two hold the directory for this process until the run is closed: `with RunDirectory.create(...) as run`.
    """

    def __init__(self, path: Path, record: dict[str, Any], lock: files.Lock | None = None) -> None:
        self.path = path
        self.record = record
        self._lock = lock
        self._before: dict[str, Any] | None = None
        self.withdrawn = False

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            self._lock.release()

    @property
    def id(self) -> str:
        """The identity of the run, kept by its checkpoints."""
        return str(self.record["id"])

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.path / "checkpoints"

    @classmethod
    def create(
        cls, path: Path, *, overwrite: bool, facts: Mapping[str, Any], texts: Mapping[str, str] | None = None
    ) -> "RunDirectory":
        """Make a new run directory.

        Args:
            path: Where.
            overwrite: Replace a run that is there.
            facts: What run.json holds beside what is known here.
            texts: Files that a run must have from its first moment on, by name.

        Raises:
            NameTakenError: There is a run of that name.
            CheckpointError: The directory cannot be made, or another process writes there.
        """
        try:
            lock = _make(path, overwrite)
        except OSError as error:
            raise CheckpointError(f"cannot make the run directory {path}: {error.strerror or error}") from error
        record = {
            "id": secrets.token_hex(8),
            "name": path.name,
            "status": "running",
            "exit_code": None,
            "error": None,
            "started": now(),
            "ended": None,
            "process": os.getpid(),
            "git": _git_state(),
            **facts,
        }
        run = cls(path, record, lock)
        for name, text in (texts or {}).items():
            run.write_text(name, text)
        run.save()  # last: run.json is what makes a directory a run
        return run

    @classmethod
    def resume(cls, path: Path) -> "RunDirectory":
        """Open an existing run to go on with it.

        Raises:
            CheckpointError: It is no run, it cannot be written to, or another process writes there.
        """
        cls.reopen(path)
        with _told(path):
            lock = files.Lock(path)
        run = cls(path, cls.reopen(path).record, lock)
        run._before = dict(run.record)
        return run

    @classmethod
    def reopen(cls, path: Path) -> "RunDirectory":
        """Open an existing run to read it.

        Raises:
            CheckpointError: It has no readable run.json.
        """
        try:
            record = json.loads((path / "run.json").read_bytes())
            record["id"], record["name"], record["command"], record["status"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is no run directory: run.json cannot be read ({error})") from error
        return cls(path, record)

    def settle(self) -> None:
        """Remove what `overwrite` put aside: the new run has begun."""
        with _told(self.path):
            files.remove(self.path / _ASIDE)

    def withdraw(self) -> None:
        """Undo `create`, as nothing was trained: put back what `overwrite` put aside, or remove the directory.

        Of a resumed run nothing but its record is put back.
        """
        self.withdrawn = True
        if self._before is not None:
            self.record = dict(self._before)
            self.save()
            return
        aside = self.path / _ASIDE
        with _told(self.path):
            for child in self.path.iterdir():
                if child not in (aside, self.path / files.LOCK_NAME):
                    files.remove(child)
            if not aside.is_dir():
                files.remove(self.path)
                return
            _move_all(aside, self.path)
            files.remove(aside)

    def save(self, **changes: Any) -> None:
        """Change the record and write run.json."""
        self.record.update(changes)
        self.write_json("run.json", self.record)

    def finish(self, status: str, exit_code: int, error: str | None = None) -> None:
        """Record how the run ended: `done`, `failed` or `interrupted`."""
        self.save(status=status, exit_code=exit_code, error=error, ended=now())

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file of the run as a whole; what is not a finite number becomes null, as JSON knows no NaN."""
        text = json.dumps(_clean(value), indent=2, ensure_ascii=False, allow_nan=False, default=str)
        self.write_text(name, text + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Replace a text file of the run as a whole, making its folder."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Replace a file of the run as a whole, making its folder."""
        path = self.path / name
        with _told(path):
            files.ensure_directory(path.parent)
            files.replace_with(path, data)

    def log(self, text: str) -> None:
        """Add a line to log.txt."""
        with _told(self.path / "log.txt"):
            files.append(self.path / "log.txt", f"{now()} {text}\n")

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; it stays valid JSON, so a value that is not finite becomes null."""
        with _told(self.path / "metrics.jsonl"):
            files.append(self.path / "metrics.jsonl", json.dumps(_clean(values)) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl; what stands after a damaged one is left out."""
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        rows = []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not isinstance(row, dict) or not isinstance(row.get("step"), int):
                break
            rows.append(row)
        return rows

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines after a step, so that a resumed run neither repeats nor skips one."""
        rows = [row for row in self.read_metrics() if row["step"] <= step]
        self.write_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def now() -> str:
    """Return the time in UTC as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say which file the disk refused."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


def _make(path: Path, overwrite: bool) -> files.Lock:
    """Make the directory, or put what the old one holds aside, and hold it."""
    try:
        files.make_directory(path)
    except FileExistsError:
        if not path.parent.is_dir():
            raise CheckpointError(f"{path.parent} is no folder, so no run can lie in it; take another name=") from None
        bare = path.is_dir() and _is_bare(path)  # empty, or killed within `create`
        if not overwrite and not bare:
            raise NameTakenError(
                f"the run {path} exists. Go on with it: resume={path.name}; start beside it: another name=; "
                "replace it: overwrite=true"
            ) from None
        if not bare and not (path / "run.json").is_file():
            raise CheckpointError(
                f"{path} is no run directory, so overwrite=true leaves it alone; take another name="
            ) from None
        lock = _hold(path)  # not while another process writes there
        aside = path / _ASIDE
        files.remove(aside)  # of a process that was killed
        files.make_directory(aside)
        _move_all(path, aside)
        return lock
    return _hold(path)


def _move_all(source: Path, target: Path) -> None:
    """Move what a run holds, run.json last: a directory that was emptied halfway is still known for a run."""
    for child in sorted(source.iterdir(), key=lambda child: child.name == "run.json"):
        if child.name not in (files.LOCK_NAME, _ASIDE):
            files.rename(child, target / child.name)


def _hold(path: Path) -> files.Lock:
    """Hold a directory that is being made."""
    try:
        return files.Lock(path)
    except CheckpointError as error:
        raise NameTakenError(str(error)) from None


def _is_bare(path: Path) -> bool:
    """Tell whether a directory holds nothing but what a run has before its run.json."""
    early = (files.LOCK_NAME, _ASIDE, ".hydra", "config.yaml", ".tmp-config.yaml", ".tmp-run.json")
    return all(child.name in early for child in path.iterdir())


def _clean(value: Any) -> Any:
    """Return JSON values with null in the place of each number that is not finite."""
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the folder the command was typed in, and whether it holds changes; None outside git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}
