"""How rows of predictions are written and read back: json lines, or a table for a spreadsheet."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from ptft.command.report import cell
from ptft.errors import PtftError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MANY = 50
"""Up to so many classes each probability has a column of its own."""
ERROR = "error"
"""What a row holds in place of a prediction when it could not be read: why."""


class Format(Protocol):
    """Writes rows as bytes, each ended by a line break.

    Attributes:
        quoted: Whether a line break within double quotes ends no row.
    """

    quoted: bool

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return some rows as bytes.

        Raises:
            PtftError: A row does not fit those before it.
        """
        ...

    def read(self, path: Path, count: int) -> tuple[int, Mapping[str, Any] | None]:
        """Return how many rows a file of `count` whole lines holds, and the last of them.

        Raises:
            ValueError: It is damaged.
        """
        ...

    def shown(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row as `read` would."""
        ...


class JsonLines:
    """One JSON object a line, in UTF-8."""

    quoted = False

    def __init__(self) -> None:
        self._encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, default=str).encode
        self._plain = json.JSONEncoder(allow_nan=False, default=str).encode

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return some rows as bytes."""
        encode = self._encode
        try:
            return "".join([encode(record) + "\n" for record in records]).encode()
        except ValueError:  # a number that is none, or half of a surrogate pair, which UTF-8 cannot hold
            return "".join([self._plain(_finite(record)) + "\n" for record in records]).encode()

    def read(self, path: Path, count: int) -> tuple[int, Mapping[str, Any] | None]:
        """Return the number of rows and the last one."""
        last = json.loads(_last_line(path)) if count else None
        if last is not None and not isinstance(last, dict):
            raise ValueError("its last row is no object")
        return count, last

    def shown(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row as it is read back."""
        found: dict[str, Any] = json.loads(self._plain(_finite(record)))
        return found


class Table:
    """Comma-separated values in UTF-8, the names of the columns first.

    What is nested stands as JSON in its cell, but probabilities of the classes have columns of their own. Cells that a
    spreadsheet would take for a formula begin with an apostrophe.
    """

    quoted = True

    def __init__(self, classes: Sequence[str], *, errors: bool) -> None:
        """Start without columns: those of the first rows hold.

        Args:
            classes: Names of the classes.
            errors: Whether rows may hold an error in place of a prediction.
        """
        self._classes = list(classes) if len(classes) <= _MANY else []
        self._errors = errors
        self._columns: list[str] = []

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return some rows as bytes, before the first the header."""
        rows = [self._flat(record) for record in records]
        header = not self._columns
        if header:
            self._columns = list(dict.fromkeys(name for row in rows for name in row if name != ERROR))
            self._columns += [ERROR] if self._errors else []
        names = set(self._columns)
        for row in rows:
            if not names.issuperset(row):
                new = next(name for name in row if name not in names)
                raise PtftError(
                    f"a row has the further field `{new}`, for which the table has no column; write json lines, as "
                    "output=NAME.jsonl"
                )
        text = self._written(rows, header, csv.QUOTE_MINIMAL)
        if "\r" in text:  # which ends a row for those who read it, and is not quoted for that by itself
            text = self._written(rows, header, csv.QUOTE_ALL)
        return text.encode("utf-8", "backslashreplace")

    def _written(self, rows: Sequence[Mapping[str, Any]], header: bool, quoting: Literal[0, 1]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n", quoting=quoting)
        if header:
            writer.writerow([cell(name) for name in self._columns])
        writer.writerows([row.get(name, "") for name in self._columns] for row in rows)
        return text.getvalue()

    def read(self, path: Path, count: int) -> tuple[int, Mapping[str, Any] | None]:
        """Return the number of rows and the last one; further rows get the columns of the header."""
        if not count:
            return 0, None
        last: list[str] = []
        with path.open(newline="", encoding="utf-8") as file:
            try:
                reader = csv.reader(file, strict=True)
                header = next(reader)
                for last in reader:
                    if len(last) != len(header):
                        raise ValueError(f"line {reader.line_num} has {len(last)} cells, the header {len(header)}")
            except csv.Error as error:
                raise ValueError(str(error)) from None
        self._columns = header
        return count - 1, dict(zip(header, last, strict=True)) if last else None

    def shown(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row as it is read back: texts."""
        text = io.StringIO()
        row = self._flat(record)
        csv.writer(text).writerow(row.values())
        return dict(zip(row, next(csv.reader(io.StringIO(text.getvalue(), newline=""))), strict=True))

    def _flat(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of texts and numbers."""
        row: dict[str, Any] = {}
        for name, value in record.items():
            if isinstance(value, str):
                row[name] = value if _NUMBER.fullmatch(value) else cell(value)
            elif isinstance(value, Mapping) and self._classes and value.keys() == set(self._classes):
                row.update((f"{name}.{one}", value[one]) for one in self._classes)
            elif isinstance(value, Mapping | list | tuple):
                row[name] = json.dumps(_finite(value), ensure_ascii=False, default=str)
            else:
                row[name] = value
        return row


def _finite(value: Any) -> Any:
    """Return a value without numbers that are none, which JSON does not know."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def format_of(suffix: str, classes: Sequence[str], *, errors: bool) -> Format:
    """Return how a file with this ending is written: `.csv` is a table, all else json lines."""
    return Table(classes, errors=errors) if suffix == ".csv" else JsonLines()


def _last_line(path: Path) -> bytes:
    """Return the last line of a file that ends with a line break."""
    with path.open("rb") as file:
        place = file.seek(0, io.SEEK_END)
        line = b""
        while place and line.count(b"\n") < 2:
            step = min(place, 1 << 16)
            place -= step
            file.seek(place)
            line = file.read(step) + line
    return line.rstrip(b"\n").rpartition(b"\n")[2]
