"""Rows of csv, tsv, json lines, parquet and plain text files, one at a time, each with its place.

A file of any size takes constant memory. What is wrong with a row is told with the file and the line it begins at; what
is wrong with the whole file (no header, no UTF-8) always ends the reading.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from ptft.data.listing import quoted
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.rows import Place
from ptft.errors import ConfigError, DataError

Separator = Literal["auto", ",", ";", "tab", "|"]
FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Suffixes of the tables that are read, in small letters."""
LINE_CHARACTERS = 1 << 24
"""Characters of a line, or of a field of a csv, from which on it is taken for a mistake: no other file is that wide."""
_SIGNS = {",": ",", ";": ";", "tab": "\t", "|": "|"}
_ESCAPED = re.compile("[\ud800-\udfff]")
"""What stands for a byte that could not be decoded, and half of a pair of surrogates."""
_PARQUET_ROWS = 1024
"""Rows of a parquet file that are turned into Python values at a time."""


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """How the files of a table are written.

    Attributes:
        separator: What stands between the columns of a csv; auto: a tab in .tsv, else what the first line holds most.
        quotes: Whether fields may stand in double quotes; auto: in csv, not in tsv.
        header: Names of the columns, where the files have no line with them; None: their first line names them.
        encoding: utf-8, latin-1, cp1252, gb18030, utf-16 ...
    """

    separator: Separator = "auto"
    quotes: bool | Literal["auto"] = "auto"
    header: tuple[str, ...] | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the encoding.

        Raises:
            ConfigError: There is no such encoding, or the header names a column twice.
        """
        check_encoding(self.encoding)
        if self.header is not None and (len(set(self.header)) < len(self.header) or not self.header):
            raise ConfigError(f"data.header names each column once, found {list(self.header)}")


def check_encoding(name: str) -> None:
    """Refuse an encoding that there is not.

    Raises:
        ConfigError: There is no such encoding of text.
    """
    try:
        "".encode(name)
    except LookupError:
        raise ConfigError(
            f"data.encoding={name}: there is no such encoding; usual ones are utf-8, latin-1, cp1252, gb18030, utf-16"
        ) from None


def stream_rows(
    path: Path, layout: TableFormat | None = None, *, name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Yield each row of a file with its place; what it holds depends on the file: a csv has texts, json any values.

    Args:
        path: A csv, tsv, json lines or parquet file, or a .txt whose lines are rows of one field, `text`.
        layout: How it is written.
        name: What messages call the file; None: its name.
        bad: Takes the rows that cannot be read; None: the first one raises.

    Raises:
        DataError: The file cannot be read, or a row cannot and no row may be left out.
    """
    layout, name, bad = layout or TableFormat(), name or path.name, bad or BadRows()
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet(path, name)
        return
    if suffix not in (*FORMATS, ".txt"):
        raise DataError(f"{name}: ptft reads {', '.join(FORMATS)}" + _JSON * (suffix == ".json"))
    with open_text(path, name, layout.encoding) as file:
        if suffix == ".txt":
            for line, text in _lines(file, name, bad):
                yield (name, line), {"text": text}
        elif suffix in (".jsonl", ".ndjson"):
            yield from _json_lines(file, name, bad)
        else:
            yield from _csv(file, name, suffix, layout, bad)


_JSON = "; save this one as json lines, an object a line, as with `jq -c '.[]' rows.json > rows.jsonl`"


def open_text(path: Path, name: str, encoding: str) -> TextIO:
    """Open a file of text, a byte-order mark of UTF-8 passed over; bytes that cannot be decoded become surrogates.

    Raises:
        DataError: It cannot be opened, or is plainly of another encoding.
    """
    utf8 = codecs.lookup(encoding).name == "utf-8"
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if utf8 and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(f"{name} is written in UTF-16; say so with data.encoding=utf-16")
        return path.open(encoding="utf-8-sig" if utf8 else encoding, errors="surrogateescape", newline="")
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from None


def undecodable(text: str) -> str:
    """Return why a text cannot be used: it holds what is no character of its encoding; nothing where all is well."""
    found = _ESCAPED.search(text) if not text.isascii() else None
    if found is None:
        return ""
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"byte {code - 0xDC00:#04x} is not of the encoding; name another, as data.encoding=latin-1"
    return "it holds half of a pair of surrogates, which is no character"


# ---- Plain lines and json -------------------------------------------------------------------------------------------


def _lines(file: TextIO, name: str, bad: BadRows) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold something, with their numbers, without their ends."""
    number = 0
    while text := file.readline(LINE_CHARACTERS):
        number += 1
        if len(text) == LINE_CHARACTERS and not text.endswith("\n"):
            while (rest := file.readline(LINE_CHARACTERS)) and not rest.endswith("\n"):
                pass
            bad.note(name, number, f"this line is longer than {LINE_CHARACTERS:,} characters")
        elif text.strip():
            if reason := undecodable(text):
                bad.note(name, number, reason)
            else:
                yield number, text.rstrip("\r\n")


def _json_lines(file: TextIO, name: str, bad: BadRows) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for line, text in _lines(file, name, bad):
        try:
            values = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            hint = "; one object stands in one line" if text.strip() in ("[", "{") else ""
            bad.note(name, line, f"this is no JSON: {error.msg} at column {error.colno}{hint}")
            continue
        except (ValueError, RecursionError) as error:
            bad.note(name, line, f"this is no JSON: {error}")
            continue
        if isinstance(values, dict):
            yield (name, line), values
        else:
            bad.note(name, line, 'this is no JSON object; expected one a line, as {"text": "...", "label": "..."}')


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is none of JSON's numbers")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {quoted(twice)} stands there twice")
    return values


# ---- csv ------------------------------------------------------------------------------------------------------------


def _csv(
    file: TextIO, name: str, suffix: str, layout: TableFormat, bad: BadRows
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    separator, begin = _separator(file, suffix, layout)
    quotes = separator != "\t" if layout.quotes == "auto" else layout.quotes
    csv.field_size_limit(LINE_CHARACTERS)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(_with(begin, file), delimiter=separator, quoting=quoting, strict=True)
    header = list(layout.header) if layout.header is not None else None
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            _refuse_open_quote(name, line, error)
            bad.note(name, line, f"this is no csv: {error}")
            continue
        if not fields:
            continue
        if header is None:
            header = _header(fields, name, line)
        elif len(fields) != len(header):
            bad.note(name, line, _miscounted(len(fields), len(header), separator, quotes))
        elif reason := next((reason for field in fields if (reason := undecodable(field))), ""):
            bad.note(name, line, reason)
        else:
            yield (name, line), dict(zip(header, fields, strict=True))
    if header is None:
        raise DataError(f"{name} is empty; its first line names the columns, as text,label")


def _refuse_open_quote(name: str, line: int, error: csv.Error) -> None:
    """Refuse a quote that swallows the rest of the file: leaving out `one row` would leave out all of it."""
    if "unexpected end of data" in str(error) or "field larger than field limit" in str(error):
        raise DataError(
            f"{name}, line {line}: a field opens with a double quote that nothing closes before the file ends; close "
            "it, or give data.quotes=false if quotes mean nothing in this file"
        ) from None


def _separator(file: TextIO, suffix: str, layout: TableFormat) -> tuple[str, str]:
    """Return the separator, and the first line that was read to find it."""
    if layout.separator != "auto":
        return _SIGNS[layout.separator], ""
    if suffix == ".tsv":
        return "\t", ""
    begin = file.readline(LINE_CHARACTERS)
    bare = re.sub(r'"[^"]*"', "", begin)
    return max(_SIGNS.values(), key=bare.count), begin  # of equal counts the comma, which comes first


def _with(begin: str, file: TextIO) -> Iterator[str]:
    if begin:
        yield begin
    yield from file


def _header(fields: list[str], name: str, line: int) -> list[str]:
    header = [field.strip() for field in fields]
    twice = [column for column in header if header.count(column) > 1]
    if twice or "" in header:
        what = f"the column {quoted(twice[0])} stands there twice" if twice and twice[0] else "a column has no name"
        raise DataError(
            f"{name}, line {line}: {what}; each column needs a name of its own. Where the first line is an example "
            "already, name the columns: data.header=[text,label]"
        )
    return header


def _miscounted(found: int, wanted: int, separator: str, quotes: bool) -> str:
    sign = "a tab" if separator == "\t" else f"`{separator}`"
    hint = f"a field that holds {sign} or a line break stands in double quotes"
    if not quotes:
        hint = f"no field may hold {sign} or a line break; if such fields stand in double quotes, give data.quotes=true"
    return f"{found} fields, and the header names {wanted}; {hint}"


# ---- parquet --------------------------------------------------------------------------------------------------------


def _parquet(path: Path, name: str) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                for values in batch.to_pylist():
                    row += 1
                    yield (name, row), values
    except FileNotFoundError:
        raise DataError(f"{name} cannot be read: there is no such file") from None
    except (OSError, pyarrow.ArrowException) as error:
        after = f" after row {row:,}" if row else ""
        raise DataError(f"{name} cannot be read as parquet{after}: {error}") from None
