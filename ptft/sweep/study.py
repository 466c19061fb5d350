"""The state of a sweep: one SQLite file in its folder, right after each change however the process ends.

    sweep   key, value       how it was begun: the command, the method, what its trials are compared by
    trial   number, ...      a row each; params and values as JSON

Whoever likes may read it while the sweep runs: `sqlite3 outputs/night/study.sqlite 'select * from trial'`.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptft.errors import CheckpointError
from ptft.sweep.trial import State, Trial

if TYPE_CHECKING:
    import sqlite3  # else where it is used: most commands sweep nothing, and import this

FILE = "study.sqlite"
_VERSION = 1
_COLUMNS = ["number", "point", "seed", "params", "rung", "state", "vals", "reason", "error", "attempts", "seconds"]
_SCHEMA = """
CREATE TABLE sweep (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE trial (
    number INTEGER PRIMARY KEY, point INTEGER NOT NULL, seed INTEGER NOT NULL, params TEXT NOT NULL,
    rung INTEGER NOT NULL, state TEXT NOT NULL, vals TEXT NOT NULL, reason TEXT, error TEXT,
    attempts INTEGER NOT NULL, seconds REAL NOT NULL, UNIQUE (point, seed));
"""


class Study:
    """The study of a sweep, open: `Study.create` a new one or `Study.open` one that is there."""

    def __init__(self, connection: "sqlite3.Connection", path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def create(cls, folder: Path, facts: dict[str, Any]) -> "Study":
        """Make the study of a new sweep; its folder is made if it is not there.

        Args:
            folder: The sweep's folder.
            facts: How it was begun, as plain values.

        Raises:
            CheckpointError: There is one already, or the disk refuses.
        """
        import sqlite3

        path = folder / FILE
        if path.exists():
            raise CheckpointError(f"{folder} holds a sweep already")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            study = cls(sqlite3.connect(path, isolation_level=None), path)
            study._connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        except (OSError, sqlite3.Error) as error:
            raise CheckpointError(f"cannot make {path}: {error}") from error
        study.note(version=_VERSION, **facts)
        return study

    @classmethod
    def open(cls, folder: Path) -> "Study":
        """Open the study of a sweep.

        Raises:
            CheckpointError: There is none, or it cannot be read.
        """
        import sqlite3

        path = folder / FILE
        if not path.is_file():
            raise CheckpointError(f"{folder} holds no sweep: there is no {FILE}")
        study = cls(sqlite3.connect(path, isolation_level=None), path)
        try:
            version = study.facts().get("version")
            study.trials()
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        if version != _VERSION:
            raise CheckpointError(f"{path} was written by another version of ptft ({version}, not {_VERSION})")
        return study

    def facts(self) -> dict[str, Any]:
        """Return what is known of the sweep as a whole."""
        return {key: json.loads(value) for key, value in self._connection.execute("SELECT key, value FROM sweep")}

    def note(self, **facts: Any) -> None:
        """Write facts down, in place of older ones of the same name."""
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self._write("INSERT OR REPLACE INTO sweep VALUES (?, ?)", rows)

    def trials(self) -> list[Trial]:
        """Return all trials by number."""
        rows = self._connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM trial ORDER BY number")
        return [_trial(dict(zip(_COLUMNS, row, strict=True))) for row in rows]

    def save(self, trials: Iterable[Trial]) -> None:
        """Write trials, new or changed, all or none of them."""
        marks = ", ".join("?" for _ in _COLUMNS)
        self._write(f"INSERT OR REPLACE INTO trial VALUES ({marks})", [_row(trial) for trial in trials])

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        import sqlite3

        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise CheckpointError(f"cannot write {self.path}: {error}") from error


def _row(trial: Trial) -> tuple[Any, ...]:
    values = {str(rung): list(found) for rung, found in trial.values.items()}
    return (
        trial.number, trial.point, trial.seed, json.dumps(trial.params), trial.rung, trial.state,
        json.dumps(values), trial.reason, trial.error, trial.attempts, trial.seconds,
    )  # fmt: skip


def _trial(row: dict[str, Any]) -> Trial:
    state: State = row["state"]
    return Trial(
        number=row["number"],
        point=row["point"],
        seed=row["seed"],
        params=json.loads(row["params"]),
        rung=row["rung"],
        state=state,
        values={int(rung): tuple(found) for rung, found in json.loads(row["vals"]).items()},
        reason=row["reason"],
        error=row["error"],
        attempts=row["attempts"],
        seconds=row["seconds"],
    )
