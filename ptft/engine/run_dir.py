"""The run directory: made exclusively, locked while in use, and the only thing that passes between commands.

run.json       id, command, argv, parents, status, exit code, error, times, versions, plan
config.yaml    the resolved config        .hydra/  Hydra's own snapshot
log.txt  metrics.jsonl  checkpoints/  model/  summary.json  predictions.csv  report/
"""

import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptft.errors import CheckpointError
from ptft.runtime import files


class RunDirectory:
    """One run on the disk; use `create` for a new one and `reopen` to go on with an old one."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record

    @property
    def id(self) -> str:
        """The identity of the run, kept by its checkpoints."""
        return str(self.record["id"])

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints lie."""
        return self.path / "checkpoints"

    @classmethod
    def create(cls, path: Path, *, overwrite: bool, facts: Mapping[str, Any]) -> "RunDirectory":
        """Make a new run directory.

        Raises:
            CheckpointError: The name is taken, or the directory cannot be made.
        """
        try:
            _make(path, overwrite)
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
        run = cls(path, record)
        run.save()
        return run

    @classmethod
    def reopen(cls, path: Path) -> "RunDirectory":
        """Open an existing run.

        Raises:
            CheckpointError: It has no readable run.json.
        """
        try:
            record = json.loads((path / "run.json").read_bytes())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is no run directory: run.json cannot be read ({error})") from error
        return cls(path, record)

    def save(self, **changes: Any) -> None:
        """Change the record and write run.json."""
        self.record.update(changes)
        self.write_json("run.json", self.record)

    def finish(self, status: str, exit_code: int, error: str | None = None) -> None:
        """Record how the run ended: `done`, `failed` or `interrupted`."""
        self.save(status=status, exit_code=exit_code, error=error, ended=now())

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file of the run as a whole."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Replace a text file of the run as a whole, making its folder."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace_with(path, text.encode())

    def log(self, text: str) -> None:
        """Add a line to log.txt."""
        files.append(self.path / "log.txt", f"{now()} {text}\n")

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; it stays valid JSON, so a value that is not finite becomes null."""
        clean = {key: None if _not_finite(value) else value for key, value in values.items()}
        files.append(self.path / "metrics.jsonl", json.dumps(clean) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl; a last line cut short by a crash is left out."""
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines after a step, so that a resumed run neither repeats nor skips one."""
        rows = [row for row in self.read_metrics() if row["step"] <= step]
        self.write_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def now() -> str:
    """Return the time in UTC as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _make(path: Path, overwrite: bool) -> None:
    try:
        files.make_directory(path)
    except FileExistsError:
        if not overwrite:
            raise CheckpointError(
                f"the run {path} exists. Go on with it: resume={path.name}; start beside it: another name=; "
                "replace it: overwrite=true"
            ) from None
        if not path.is_dir() or (not (path / "run.json").is_file() and any(path.iterdir())):
            raise CheckpointError(
                f"{path} is no run directory, so overwrite=true leaves it alone; take another name="
            ) from None
        with files.lock(path):  # not while another process writes there
            files.remove(path)
        files.make_directory(path)


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and value - value != 0


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the folder the command was typed in, and whether it holds changes; None outside git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}
