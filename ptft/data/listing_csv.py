"""Pictures named by a csv: one row a picture, with its path, its label, perhaps its split, and any further columns.

Every problem is told with the file and the line. Rows may only name files inside `data.path`.
"""

import csv
import dataclasses
import difflib
import io
import os
import re
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ptft.data.listing import SPLITS, Listing, listed, make_listing, quoted
from ptft.data.listing_folder import is_inside
from ptft.data.nested import nested
from ptft.errors import ConfigError, DataError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of the csv are called.

    Attributes:
        path: The file, relative to data.path.
        label: The name of the class; null: the csv gives none.
        split: `train`, `val` or `test`; null: the csv gives none, and data.split divides.
    """

    path: str = "path"
    label: str | None = "label"
    split: str | None = None

    @classmethod
    def of(cls, values: "Columns | Mapping[str, Any] | None") -> "Columns":
        """Return the columns from the mapping `data.columns` of a config; None gives the default.

        Raises:
            ConfigError: A key is unknown, a value is no name, or two name the same column.
        """
        columns = nested(cls, values, "data.columns")
        for key, value in vars(columns).items():
            if not isinstance(value, str) and (value is not None or key == "path"):
                raise ConfigError(f"data.columns.{key} takes the name of a column, found `{value}`")
        names = [name for name in dataclasses.astuple(columns) if name is not None]
        if len(set(names)) < len(names):
            raise ConfigError(f"data.columns names one column twice: {', '.join(names)}")
        return columns


@dataclass(frozen=True)
class Row:
    """One row: the line it begins at, and its fields by column."""

    line: int
    fields: dict[str, str]


def list_csv(root: Path, name: str, columns: Columns, labels: bool | Literal["auto"] = "auto") -> Listing:
    """List the pictures that a csv names.

    Args:
        root: The folder, resolved.
        name: The csv, relative to it.
        columns: What its columns are called.
        labels: False leaves the labels out; true insists on them; auto takes them if `columns.label` names a column.

    Raises:
        DataError: The csv cannot be read, a column is missing, or a row is wrong or names what it may not.
    """
    file = _csv_file(root, name)
    header, rows = _read(file, name)
    if labels is True and columns.label is None:
        raise DataError("data.labels=true, but data.columns.label is null: name the column that holds the labels")
    label = columns.label if labels else None
    wanted = {"path": columns.path, "label": label, "split": columns.split}
    for key, column in wanted.items():
        if column is not None and column not in header:
            near = difflib.get_close_matches(column, header, 1)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            off = ", or data.labels=false to train without labels" if key == "label" else ""
            raise DataError(
                f"{name}:1: there is no column {quoted(column)} (data.columns.{key}); the columns are "
                f"{listed(header, 20)}{hint}. Give data.columns.{key}=COLUMN{off}"
            )
    used = {column for column in (columns.path, columns.label, columns.split) if column is not None}
    further = [column for column in header if column not in used]
    paths = _checked_paths(root, name, rows, columns.path)
    return make_listing(
        root,
        paths,
        [_filled(name, row, label, "label") for row in rows] if label is not None else None,
        parts=[_split(name, row, columns.split) for row in rows] if columns.split is not None else None,
        columns={column: [row.fields[column] for row in rows] for column in further},
        where=lambda place: f"{name}:{rows[place].line}",
    )


# ---- The file -------------------------------------------------------------------------------------------------------


def _csv_file(root: Path, name: str) -> Path:
    file = root / name
    try:
        resolved = os.path.realpath(file, strict=True)
    except (OSError, ValueError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise DataError(f"data.csv={name}: {reason} in {root} (it is looked for relative to data.path)") from None
    if not is_inside(root, resolved):
        raise DataError(f"data.csv={name} lies outside data.path={root}; put it into that folder")
    return Path(resolved)


def _read(file: Path, name: str) -> tuple[list[str], list[Row]]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"data.csv={name} cannot be read: {error.strerror or error}") from None
    text = _decoded(data, name)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    rows: list[Row] = []
    line = 1
    try:
        for fields in reader:
            begun, line = line, reader.line_num + 1
            if not fields:
                continue
            if header is None:
                header = _header(fields, name, begun)
            elif len(fields) != len(header):
                raise DataError(
                    f"{name}:{begun}: {len(fields)} fields, and the header names {len(header)}; "
                    'a field that holds a comma stands in quotes: "a, b.jpg"'
                )
            else:
                rows.append(Row(begun, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        raise DataError(f"{name}:{line}: this is no csv: {error}") from None
    if header is None:
        raise DataError(f"{name} is empty; its first line names the columns, as path,label")
    if not rows:
        raise DataError(f"{name} holds a header and no rows")
    return header, rows


def _decoded(data: bytes, name: str) -> str:
    """Return the text of a csv in UTF-8, with or without a byte-order mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{name} is written in UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}:{line}: byte {data[error.start]:#04x} is not UTF-8 (perhaps Latin-1 or Windows-1252); "
            f"save the file as UTF-8, as with `iconv -f latin1 -t utf-8 {PurePosixPath(name).name}`"
        ) from None


def _header(fields: list[str], name: str, line: int) -> list[str]:
    header = [field.strip() for field in fields]
    if len(header) == 1 and (other := re.search("[;\t|]", header[0])):
        sign = "tabs" if other[0] == "\t" else f"`{other[0]}`"
        raise DataError(f"{name}:{line}: the columns are separated by {sign}; save the file with commas")
    twice = [column for column in header if header.count(column) > 1]
    if twice or "" in header:
        what = f"the column {quoted(twice[0])} stands there twice" if twice and twice[0] else "a column has no name"
        raise DataError(f"{name}:{line}: {what}; each column needs a name of its own")
    return header


# ---- The rows -------------------------------------------------------------------------------------------------------


def _filled(name: str, row: Row, column: str, key: str) -> str:
    value = row.fields[column].strip()
    if not value:
        raise DataError(f"{name}:{row.line}: the column {quoted(column)} is empty; each row needs a {key}")
    return value


def _split(name: str, row: Row, column: str) -> str:
    value = _filled(name, row, column, "split")
    if value.casefold() not in SPLITS:
        near = difflib.get_close_matches(value.casefold(), SPLITS, 1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise DataError(
            f"{name}:{row.line}: the split {quoted(value)} is none of train, val, test (also written training, valid, "
            f"validation, dev, testing){hint}"
        )
    return SPLITS[value.casefold()]


def _checked_paths(root: Path, name: str, rows: list[Row], column: str) -> list[str]:
    """Return the path of each row as it is opened; refuse what leaves the folder, is missing or stands there twice."""
    parents: dict[str, str] = {}
    lines: dict[str, int] = {}
    missing: list[tuple[Row, str]] = []
    for row in rows:
        path = _inner_path(name, row, row.fields[column], column)
        if path in lines:
            raise DataError(f"{name}:{row.line}: {quoted(path)} stands there already, in line {lines[path]}; keep one")
        lines[path] = row.line
        if not _exists(root, name, row, path, parents):
            missing.append((row, path))
    if missing:
        row, path = missing[0]
        more = f" ({len(missing):,} such rows)" if len(missing) > 1 else ""
        raise DataError(f"{name}:{row.line}: there is no file {quoted(path)} in {root}{more}{_hint(root, path)}")
    return list(lines)


def _inner_path(name: str, row: Row, path: str, column: str) -> str:
    """Return a path without `.` and doubled slashes; refuse one that could lead out of the folder."""
    refused = ""
    if not path.strip():
        raise DataError(f"{name}:{row.line}: the column {quoted(column)} is empty; each row names a picture file")
    if _ADDRESS.match(path):
        refused = "is an address"
    elif path.startswith("/") or _DRIVE.match(path):
        refused = "is an absolute path"
    elif ".." in path.split("/"):
        refused = "holds `..`"
    elif "\0" in path:
        refused = "holds a zero byte"
    if refused:
        raise DataError(
            f"{name}:{row.line}: {quoted(path)} {refused}; rows name files relative to data.path, as cats/001.jpg, "
            "and nothing outside data.path is read"
        )
    return str(PurePosixPath(path))


def _exists(root: Path, name: str, row: Row, path: str, parents: dict[str, str]) -> bool:
    """Tell whether a row's file is there; `parents` remembers the folders already resolved."""
    parent, _, last = path.rpartition("/")
    try:
        if parent not in parents:
            parents[parent] = os.path.realpath(root / parent, strict=True)
        status = os.lstat(f"{parents[parent]}/{last}")
        target = f"{parents[parent]}/{last}"
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(target, strict=True)
            status = os.stat(target)  # noqa: PTH116 - a string is at hand
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DataError(f"{name}:{row.line}: {quoted(path)} cannot be read: {error.strerror or error}") from None
    if not is_inside(root, target):
        raise DataError(
            f"{name}:{row.line}: {quoted(path)} is a link that leads out of data.path, to {target}; "
            "nothing outside the folder is read. Copy the file into it"
        )
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
        raise DataError(f"{name}:{row.line}: {quoted(path)} is {what}; rows name picture files")
    return True


def _hint(root: Path, path: str) -> str:
    """Return what may be wrong with the name of a file that is not there."""
    for change, tell in _CHANGES:
        other = change(path)
        if other != path and (root / other).is_file() and is_inside(root, os.path.realpath(root / other)):
            return f"; {tell}"
    return "; paths are relative to data.path"


_CHANGES = (
    (lambda path: unicodedata.normalize("NFC", path), "one of that name is there, in composed characters (NFC)"),
    (lambda path: unicodedata.normalize("NFD", path), "one of that name is there, in decomposed characters (NFD)"),
    (lambda path: path.replace("\\", "/"), "write / in the place of \\"),
    (lambda path: path.strip(), "one without the spaces around its name is there"),
)
