"""A table, or several in a folder, read into rows by the names of its columns."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptft.data.listing import SPLITS, listed, quoted
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.read_table import FORMATS, TableFormat, stream_rows, undecodable
from ptft.data.text.rows import Place, TextRows
from ptft.errors import DataError

TEXT_CHARACTERS = 1_000_000
"""Characters of a text from which on it is taken for a mistake, a whole file in one row; a long book has as many."""

_NAME = 40
"""Characters from which on a column's name looks like a text."""


@dataclass(frozen=True, kw_only=True)
class TextColumns:
    """What the columns of a table are called.

    Attributes:
        text: The text.
        text_pair: A second text; None: there is none.
        label: The label; None: there is none.
        split: `train`, `val` or `test`; None: none is given.
        labelled: Whether each row needs a label; else a column that is not there is no mistake.
    """

    text: str = "text"
    text_pair: str | None = None
    label: str | None = "label"
    split: str | None = None
    labelled: bool = True


def read_tables(path: str | None, columns: TextColumns, layout: TableFormat, bad: BadRows) -> TextRows:
    """Read a table, or all tables that lie directly in a folder.

    In a folder, files called train, val (valid, validation, dev) and test, or that and more behind a `-`, `_` or `.`,
    are these splits.

    Raises:
        DataError: There is no table, a column is missing, or a row cannot be used and none may be left out.
    """
    files, parts = _files(path)
    if parts is not None and columns.split is not None:
        raise DataError(
            f"data.split_column={columns.split}, but the names of the files say it: {listed(f.name for f in files)}; "
            "leave data.split_column out, or rename the files"
        )
    table = _Table(columns, bad)
    for number, file in enumerate(files):
        before = len(table.texts)
        for place, values in stream_rows(file, layout, bad=bad):
            table.add(place, values, fixed=file.suffix.lower() not in (".jsonl", ".ndjson"))
        if parts is not None:
            table.splits += [parts[number]] * (len(table.texts) - before)
    if not table.texts and not bad.rows:
        raise DataError(f"{listed(str(f) for f in files)}: there are no rows")
    return table.rows(divided=parts is not None)


def _files(path: str | None) -> tuple[list[Path], list[str] | None]:
    """Return the files of a table, and the split that each is by its name, if they are."""
    if not path:
        raise DataError("data.path is not given: name a table, as data.path=reviews.csv, or a folder of them")
    found = Path(path).expanduser()
    if found.is_file():
        return [found], None
    if not found.is_dir():
        raise DataError(f"data.path={path}: there is no such file or folder (looked for {found.absolute()})")
    files = sorted(f for f in found.iterdir() if f.suffix.lower() in FORMATS and f.is_file() and f.name[:1] != ".")
    if not files:
        raise DataError(
            f"data.path={path} holds no table; ptft reads {', '.join(FORMATS)}. For a folder of text files take "
            "data=text/folder"
        )
    stems = [re.split(r"[-_.]", file.name)[0].casefold() for file in files]
    parts = [SPLITS.get(stem, "") for stem in stems]
    if "train" not in parts:
        return files, None
    if "" in parts:
        other = files[parts.index("")].name
        raise DataError(
            f"data.path={path} holds {listed(f.name for f in files)}: beside train only val and test may lie there, "
            f"and {quoted(other)} is none of them; move it out, or give one file: data.path={path.rstrip('/')}/{other}"
        )
    return files, parts


@dataclass
class _Table:
    """Collects the rows of files."""

    columns: TextColumns
    bad: BadRows
    texts: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    further: dict[str, list[str]] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    unlabelled: int = 0

    def add(self, place: Place, values: Mapping[str, Any], *, fixed: bool) -> None:
        """Take in a row; `fixed` says that all rows of its file have the same columns.

        Raises:
            DataError: A column is missing, or the row cannot be used and none may be left out.
        """
        columns = self.columns
        named = {"text": columns.text, "text_pair": columns.text_pair, "split_column": columns.split}
        if columns.labelled:
            named["label"] = columns.label
        for key, name in named.items():
            if name is not None and name not in values:
                if fixed:
                    raise DataError(f"{place[0]}: {missing_column(key, name, values)}")
                self.bad.note(*place, missing_column(key, name, values))
                return
        texts = [values[name] if values[name] is not None else "" for name in (columns.text, columns.text_pair) if name]
        split = values[columns.split] if columns.split is not None else "train"
        reasons = [*map(_unusable, texts), _no_split(split), *map(_undecodable, values.values())]
        if reason := next(filter(None, reasons), ""):
            self.bad.note(*place, reason)
            return
        self.texts.append(texts[0])
        self.pairs += texts[1:]
        self.places.append(place)
        if columns.split is not None:
            self.splits.append(SPLITS[split.strip().casefold()])
        self._label(values)
        self._further(values)

    def _label(self, values: Mapping[str, Any]) -> None:
        name = self.columns.label
        self.labels.append(values.get(name) if name is not None else None)
        self.unlabelled += name is None or name not in values

    def _further(self, values: Mapping[str, Any]) -> None:
        """Keep the values of further columns as texts; of equal ones only one."""
        columns = self.columns
        used = {columns.text, columns.text_pair, columns.label, columns.split}
        for name, value in values.items():
            if name in used or isinstance(value, list | dict | bytes):
                continue
            column = self.further.setdefault(name, [])
            column += [""] * (len(self.texts) - 1 - len(column))  # rows before that did not have it
            text = "" if value is None else str(value)
            column.append(self.known.setdefault(text, text))

    def rows(self, *, divided: bool) -> TextRows:
        """Return what was read; `divided` says that the files were splits."""
        for column in self.further.values():
            column += [""] * (len(self.texts) - len(column))
        return TextRows(
            self.texts,
            self.pairs if self.columns.text_pair is not None else None,
            self.labels if self.unlabelled < len(self.labels) else None,
            self.splits if divided or self.columns.split is not None else None,
            self.further,
            self.places,
        )


def missing_column(key: str, name: str, columns: Mapping[str, Any] | Sequence[str]) -> str:
    """Return what to say of a column that is not there."""
    near = difflib.get_close_matches(name, list(columns), 1)
    hint = f"; did you mean data.{key}={near[0]}?" if near else f"; name it with data.{key}"
    hint += (
        ""
        if not any(map(_no_name, columns))
        else (". If the first line is an example already, name the columns: data.header=[text,label]")
    )
    return f"there is no column {quoted(name)} (data.{key}), but {listed(columns)}{hint}"


def _no_name(column: str) -> bool:
    """Tell whether what should be the name of a column looks like what stands in one."""
    return len(column) > _NAME or column.replace(".", "").isdigit()


def _unusable(text: Any) -> str:
    if not isinstance(text, str):
        return f"the text is a {type(text).__name__}, expected a text"
    if len(text) > TEXT_CHARACTERS:
        return f"a text of {len(text):,} characters; a row is one example, and {TEXT_CHARACTERS:,} are the most"
    return ""


def _undecodable(value: Any) -> str:
    return undecodable(value) if isinstance(value, str) else ""


def _no_split(value: Any) -> str:
    if isinstance(value, str) and value.strip().casefold() in SPLITS:
        return ""
    near = difflib.get_close_matches(value.casefold(), SPLITS, 1) if isinstance(value, str) else []
    hint = f"; did you mean `{near[0]}`?" if near else ""
    shown = quoted(value[:60]) if isinstance(value, str) else str(value)
    return f"the split {shown} is none of train, val, test (also written validation, dev ...){hint}"
