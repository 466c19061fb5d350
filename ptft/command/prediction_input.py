"""What is predicted on, row by row: a table, lines, the files of a folder, one picture, a text, prompts.

Every source is read while rows are predicted, so that its length does not matter. A row that cannot be read keeps its
place and tells why.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptft.command.prediction_columns import Columns
from ptft.command.prediction_files import lines_of_input, num_rows, text_files, text_of
from ptft.config.prediction import STANDARD, existing
from ptft.data.data_module import DataModule
from ptft.data.listing import PICTURES
from ptft.data.listing_folder import walk
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.read_table import FORMATS, TableFormat, check_encoding, stream_rows, undecodable
from ptft.data.text.rows import told
from ptft.errors import ConfigError, DataError

_LAYOUT = ("separator", "quotes", "header", "encoding")
"""Settings of a table's data that say how its files are written."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row to predict on.

    Attributes:
        id: What the output calls it.
        where: Where it stands, in words.
        fields: What the data read of it.
        kept: What the output repeats of it.
        problem: Why it cannot be read; empty: it can.
    """

    id: Any
    where: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """Rows to predict on.

    Attributes:
        rows: The rows; None says that no further one is there yet, so that those read need not wait for it.
        total: How many there are; None: not known.
        unit: What they are called.
        facts: What tells this source from another, as plain JSON values.
    """

    rows: Iterator[Row | None]
    total: int | None
    unit: str
    facts: Mapping[str, Any]


def open_source(config: Mapping[str, Any], data: DataModule) -> Source:
    """Open what `input=` or `prompt=` names.

    Args:
        config: The checked config.
        data: The data of the run, restored.

    Raises:
        ConfigError: It is nothing that these data can read.
        DataError: It cannot be read.
    """
    columns = Columns.of(config, data)
    prompt, given = config["prompt"], config["input"]
    kind = data.spec.kind
    path = existing(given) if given not in (None, STANDARD) else None
    if path is None or path.is_dir() or not _is_table(path, kind) or path.suffix.lower() == ".txt":
        columns.refuse_names()
    if prompt is not None:
        prompts = [prompt] if isinstance(prompt, str) else [str(one) for one in prompt]
        return _of_texts(prompts, columns, "prompts", name="prompt")
    if given == STANDARD:
        return Source(_of_lines(columns), None, "rows", {"input": given})
    if path is None:
        if kind != "text":
            raise ConfigError(f"input={given}: there is no such file or folder, and this run reads pictures, no text")
        return _of_texts([given], columns, "texts", name=columns.fields[0])
    if path.is_dir():
        return _of_folder(path, columns, kind, _encoding(config))
    facts = {"input": str(path.resolve()), "bytes": path.stat().st_size, "modified": path.stat().st_mtime_ns}
    if _is_table(path, kind):
        return Source(_of_table(path, columns, _layout(config)), num_rows(path), "rows", facts)
    if kind == "text" and path.suffix.lower() in PICTURES:
        raise ConfigError(f"input={given} is a picture, and this run reads texts")
    names = iter([path.name])
    return Source(_of_files(path.parent, names, columns, kind, _encoding(config)), 1, "files", facts)


def _is_table(path: Path, kind: str) -> bool:
    """Tell whether a file holds a row in each line or the like; else it is one row."""
    suffix = path.suffix.lower()
    return suffix in (*FORMATS, ".txt", ".json") or (kind == "image" and suffix not in PICTURES)


def windows(rows: Iterator[Row | None], size: int) -> Iterator[list[Row]]:
    """Yield the rows in lists of `size`; the last is shorter, and so is one after which no row is there yet."""
    window: list[Row] = []
    for row in rows:
        if row is not None:
            window.append(row)
        if len(window) == size or (row is None and window):
            yield window
            window = []
    if window:
        yield window


def _layout(config: Mapping[str, Any]) -> TableFormat:
    settings = {key: config["data"][key] for key in _LAYOUT if config["data"].get(key) is not None}
    if "header" in settings:
        settings["header"] = tuple(settings["header"])
    return TableFormat(**settings)


def _encoding(config: Mapping[str, Any]) -> str:
    name = str(config["data"].get("encoding") or "utf-8")
    check_encoding(name)
    return name


class _Pending(BadRows):
    """Collects the rows of a table that cannot be read, for the output to tell in their place."""

    def note(self, file: str, line: int, reason: str) -> None:
        """Take a row in."""
        self.rows.append({"line": line, "reason": reason})


def _of_table(path: Path, columns: Columns, layout: TableFormat) -> Iterator[Row]:
    """Yield the rows of a table or the lines of a text, numbered from 1, those that cannot be read among them."""
    pending = _Pending()
    lines = path.suffix.lower() == ".txt"
    if lines:
        columns.refuse_single()
    number, folder = 0, path.parent
    for (_, line), values in stream_rows(path, layout, bad=pending):
        if pending.rows:
            yield from _unreadable(path, pending, number, lines=lines)
            number += len(pending.rows)
            pending.rows.clear()
        number += 1
        yield _row(columns, values, line if lines else number, told(path.name, line), folder, lines=lines)
    yield from _unreadable(path, pending, number, lines=lines)


def _unreadable(path: Path, pending: _Pending, number: int, *, lines: bool) -> Iterator[Row]:
    for place, row in enumerate(pending.rows, number + 1):
        yield Row(
            row["line"] if lines else place,
            told(path.name, row["line"]),
            problem=row["reason"].replace("data.on_bad", "on_bad"),
        )


def _row(
    columns: Columns, values: Mapping[str, Any], number: int, where: str, folder: Path | None, *, lines: bool = False
) -> Row:
    """Return a row of a table, or of a line where `lines`, whose only column is `text`."""
    if lines:
        text = next(iter(values.values()))
        values = {columns.columns[columns.fields[0]]: text}
        fields: Mapping[str, Any] = {columns.fields[0]: text}
        problem = ""
    else:
        fields, problem = columns.read(values)
    if problem:
        return Row(number, where, problem=problem)
    for value in fields.values():
        if isinstance(value, str) and (reason := undecodable(value)):
            return Row(number, where, problem=reason)
    kept = columns.kept(values)
    if folder is not None and "file" in fields:
        fields = {**fields, "file": str(folder / str(fields["file"]))}  # of an absolute path nothing is changed
    return Row(columns.name(values, number), where, fields, kept)


def _of_lines(columns: Columns) -> Iterator[Row | None]:
    """Yield the lines of standard input that hold something."""
    columns.refuse_single()
    number = 0
    for line in lines_of_input(sys.stdin.fileno()):
        number += line is not None
        if line is None:
            yield None
        elif line.strip():
            where = told("standard input", number)
            yield _row(columns, {"text": line}, number, where, Path() if "file" in columns.fields else None, lines=True)


def _of_texts(texts: Sequence[str], columns: Columns, unit: str, *, name: str) -> Source:
    """Return texts that were typed."""
    if columns.fields[0] == "file":
        raise ConfigError(f"{name}= gives a text, and this run reads pictures; give input=FILE or input=FOLDER")
    columns.refuse_single()
    rows = [
        Row(place, f"{name} {place}", {columns.fields[0]: text}, {name: text}) for place, text in enumerate(texts, 1)
    ]
    return Source(iter(rows), len(rows), unit, {unit: list(texts)})


def _of_folder(folder: Path, columns: Columns, kind: str, encoding: str) -> Source:
    """Return the files of a folder and of those in it, sorted by name."""
    if kind == "image":
        found = walk(folder.resolve()).pictures
        total, names = len(found), iter(found)
    else:
        total, names = sum(1 for _ in text_files(folder)), text_files(folder)
    if not total:
        what = "pictures" if kind == "image" else "texts"
        tables = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in FORMATS)
        hint = f"; a table is named by itself, as input={folder / tables[0]}" if tables else ""
        raise DataError(f"input={folder} holds no {what}{hint}")
    rows = _of_files(folder, names, columns, kind, encoding)
    return Source(rows, total, "files", {"input": str(folder.resolve()), "files": total})


def _of_files(root: Path, names: Iterator[str], columns: Columns, kind: str, encoding: str) -> Iterator[Row]:
    """Yield a row for each file: the path of a picture, or all of its text."""
    columns.refuse_single()
    name_of_field = columns.fields[0]
    for name in names:
        if kind == "image":
            yield Row(name, name, {name_of_field: str(root / name)})
            continue
        try:
            yield Row(name, name, {name_of_field: text_of(root / name, encoding)})
        except DataError as error:
            yield Row(name, name, problem=str(error))
