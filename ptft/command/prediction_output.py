"""Where predictions are written: standard output, or a file that appears under its name once it is whole.

Until then its rows stand in NAME.part, and beside it NAME.part.json says what they are made from. Both outlive a
process that is killed; whoever goes on cuts off the row that broke and checks that the others would come out the same.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from ptft.command.prediction_format import Format, format_of
from ptft.config.prediction import STANDARD, special
from ptft.config.saved import flat
from ptft.errors import ConfigError, PtftError
from ptft.runtime import files
from ptft.runtime.records import facts_of, part_of, whole_rows

Record = dict[str, Any]
_MAY_REPLACE = "overwrite"
"""The fact that is not one of the rows: whether a file of that name was to be replaced."""


class Output(Protocol):
    """Takes the rows of a prediction in order.

    Attributes:
        rows: How many it holds.
        last: The last row it held when it was opened, as the format reads it; None: it held none.
    """

    rows: int
    last: Mapping[str, Any] | None

    def write(self, records: Sequence[Record]) -> None:
        """Add rows.

        Raises:
            PtftError: They cannot be written.
        """
        ...

    def shown(self, record: Record) -> Mapping[str, Any]:
        """Return a row as `last` would give it."""
        ...

    def finish(self) -> None:
        """Give the output its name: it is whole."""
        ...

    def told(self) -> str:
        """Return where it stands, in words."""
        ...


class Stream:
    """Standard output, a pipe or a device; a reader that goes away ends the command."""

    def __init__(self, descriptor: int, name: str, form: Format) -> None:
        self.rows = 0
        self.last: Mapping[str, Any] | None = None
        self._descriptor = descriptor
        self._name = name
        self._format = form

    def write(self, records: Sequence[Record]) -> None:
        """Add rows."""
        try:
            files.write_all(self._descriptor, self._format.encode(records))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise PtftError(f"{self._name} cannot be written: {error.strerror}; {self.rows:,} rows went out") from None
        self.rows += len(records)

    def shown(self, record: Record) -> Mapping[str, Any]:
        """Return a row as it would be read back."""
        return self._format.shown(record)

    def finish(self) -> None:
        """Do nothing: a stream has no end of its own."""

    def told(self) -> str:
        """Return what it is called."""
        return self._name


class RowFile:
    """A file of predictions, held for this process alone while it is written."""

    def __init__(
        self, path: Path, form: Format, facts: Mapping[str, Any], *, resume: bool, overwrite: bool = False
    ) -> None:
        """Open NAME.part: a new one, or the one that is there, without the row that broke off.

        Args:
            path: Where the whole file belongs.
            form: How rows are written.
            facts: What the rows are made from.
            resume: Go on with the rows that are there, if there are any.
            overwrite: What is called NAME may be replaced in the end.

        Raises:
            ConfigError: The rows there were made from something else, or are damaged.
            PtftError: The file cannot be written, or another process writes it.
        """
        self.path = path
        self.rows = 0
        self.last: Mapping[str, Any] | None = None
        self._part = part_of(path)
        self._format = form
        self._end = 0
        self._overwrite = overwrite
        going_on = resume and self._part.is_file()
        try:
            self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise PtftError(f"output={path}: {self._part} cannot be written: {error.strerror}") from None
        try:
            self._hold()
            if going_on:
                self._go_on(facts)
            else:
                os.ftruncate(self._descriptor, 0)
                text = json.dumps({**facts, _MAY_REPLACE: overwrite}, indent=1)
                files.replace_with(facts_of(path), text.encode())
            os.lseek(self._descriptor, self._end, os.SEEK_SET)
        except OSError as error:
            os.close(self._descriptor)
            raise PtftError(f"output={path} cannot be written: {error.strerror}") from None
        except BaseException:
            os.close(self._descriptor)
            raise
        self._new = not going_on

    def _hold(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have finished it meanwhile: then this is no part any more.
            mine = self._part.exists() and os.path.samestat(os.fstat(self._descriptor), self._part.stat())
        except BlockingIOError:
            mine = False
        if not mine:
            raise PtftError(f"another process writes {self._part}; wait for it, or give another output=")

    def _go_on(self, facts: Mapping[str, Any]) -> None:
        """Take the rows that are there."""
        self._overwrite = _check_facts(self._part, facts_of(self.path), facts)
        count, self._end = whole_rows(self._part, quoted=self._format.quoted)
        os.ftruncate(self._descriptor, self._end)
        try:
            self.rows, self.last = self._format.read(self._part, count)
        except ValueError as error:
            raise ConfigError(f"{self._part} is damaged ({error}); overwrite=true starts anew") from None

    def write(self, records: Sequence[Record]) -> None:
        """Add rows; where not all of them fit, none is added."""
        data = self._format.encode(records)
        try:
            files.write_all(self._descriptor, data)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            full = " Make room there, then" if error.errno in (errno.ENOSPC, errno.EDQUOT) else " Then"
            raise PtftError(
                f"{self._part} cannot be written: {error.strerror}. It holds {self.rows:,} rows.{full} the same "
                "command with resume=true goes on after them"
            ) from None
        self._end += len(data)
        self.rows += len(records)

    def shown(self, record: Record) -> Mapping[str, Any]:
        """Return a row as it would be read back."""
        return self._format.shown(record)

    def finish(self) -> None:
        """Push the file to the disk and give it its name."""
        if self.path.exists() and not self._overwrite:
            raise PtftError(f"{self.path} has come into being meanwhile; the whole output stands in {self._part}")
        try:
            os.fsync(self._descriptor)
            files.rename(self._part, self.path)
            files.sync_directory(self.path.parent)
            files.remove(facts_of(self.path))
        except OSError as error:
            raise PtftError(f"output={self.path} cannot be written: {error.strerror}") from None

    def told(self) -> str:
        """Return where the file stands."""
        return str(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file; what a command that was refused began is taken away."""
        if error is not None and self._new and not self.rows:
            with contextlib.suppress(OSError):
                files.remove(self._part)
                files.remove(facts_of(self.path))
        os.close(self._descriptor)


@contextlib.contextmanager
def open_output(config: Mapping[str, Any], facts: Mapping[str, Any], classes: Sequence[str]) -> Iterator[Output]:
    """Open what `output=` names; it is written by `write` and whole after `finish`.

    Args:
        config: The checked config.
        facts: What the rows are made from, as plain JSON values.
        classes: Names of the classes, whose probabilities have columns in a table.

    Raises:
        PtftError: It cannot be written, or there are rows that were made otherwise.
    """
    named = str(config["output"])
    path = Path(named).expanduser()
    form = format_of(path.suffix, classes, errors=config["on_bad_sample"] == "skip")
    if named == STANDARD:
        yield Stream(1, "standard output", form)
    elif special(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield Stream(descriptor, str(path), form)
        finally:
            os.close(descriptor)
    else:
        resume, overwrite = bool(config["resume"]), bool(config["overwrite"])
        with RowFile(path, form, facts, resume=resume, overwrite=overwrite) as output:
            yield output


def _check_facts(part: Path, path: Path, facts: Mapping[str, Any]) -> bool:
    """Compare what rows were made from with what further ones would be; returns whether a file may be replaced.

    Raises:
        ConfigError: They differ, or it is not known.
    """
    try:
        before = dict(flat(json.loads(path.read_bytes())))
        overwrite = bool(before.pop(_MAY_REPLACE, False))
    except (OSError, ValueError, AttributeError):
        raise ConfigError(
            f"{path} is missing or damaged, so that it cannot be told what the rows of {part} were made from; "
            "overwrite=true starts anew"
        ) from None
    now = dict(flat(json.loads(json.dumps(facts))))
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise ConfigError(
                f"the rows of {part} were made with {key} {before.get(key)}, and now it is {now.get(key)}; go on as it "
                "was, or overwrite=true starts anew"
            )
    return overwrite
