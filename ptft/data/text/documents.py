"""Documents of raw text, streamed: files, their lines or paragraphs, or a column of tables.

A document comes in pieces of at most about `PIECE` characters, so that a file of any size takes little memory. Going
through the documents again gives the same pieces.
"""

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from ptft.data.file_contents import read_contents
from ptft.data.listing import listed, quoted
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.clean import Normalisation, plain
from ptft.data.text.read_table import TableFormat, stream_rows
from ptft.errors import DataError

Unit = Literal["file", "line", "paragraph"]
PIECE = 1 << 16
"""Characters of a piece, about: it ends with a line where lines are shorter."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A document, or a part of one.

    Attributes:
        text: Its text, cleaned, not only white space unless it stands within a document.
        begins: Whether a document begins with it.
        file: The number of its file.
    """

    text: str
    begins: bool
    file: int


class Documents(Protocol):
    """Where documents come from.

    Attributes:
        identity: What tells these documents, prepared in this way, from all others.
        files: The names of the files.
        num_bytes: What there is to read, for a progress bar.
    """

    identity: str
    files: Sequence[str]
    num_bytes: int

    def check(self, bad: BadRows) -> None:
        """Read everything once; what cannot be used goes to `bad`.

        Raises:
            DataError: It cannot be used, and nothing or not so much may be left out.
        """
        ...

    def pieces(self, left_out: frozenset[str] = frozenset()) -> Iterator[Piece]:
        """Yield the documents of all files but those left out."""
        ...


Lines = Callable[[TextIO], Iterable[str]]
"""Returns the lines of an open file, each with its line break, as plain text."""


def lines_of(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file as they are; very long ones in parts."""
    while line := file.readline(PIECE):
        yield line


class TextFiles:
    """Files of plain text in a folder."""

    def __init__(
        self, root: Path, names: Sequence[str], unit: Unit, encoding: str, form: Normalisation, lines: Lines = lines_of
    ) -> None:
        """List the documents; what the files hold is read once for the identity.

        Args:
            root: The folder.
            names: The files in it.
            unit: What a document is: a file, a line, or lines between blank ones.
            encoding: How the files are written.
            form: Unicode form.
            lines: What makes plain lines of a file.
        """
        self.files: Sequence[str] = tuple(names)
        self._root, self._unit, self._form, self._lines = root, unit, form, lines
        self._encoding = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
        self.num_bytes = sum((root / name).stat().st_size for name in names)
        contents = read_contents(root, names).fingerprint
        self.identity = repr(
            ("files", contents, unit, self._encoding, form, f"{lines.__module__}.{lines.__qualname__}")
        )

    def check(self, bad: BadRows) -> None:
        """Decode every file; those that are not written in the encoding, or cannot be opened, go to `bad`."""
        for name in self.files:
            try:
                self._decode(self._root / name)
            except UnicodeDecodeError as error:
                reason = f"{error.reason} in {error.encoding}; name another encoding, as data.encoding=latin-1"
                bad.note(name, error.start, reason)
            except OSError as error:
                bad.note(name, 0, f"it cannot be read: {error.strerror or error}")
        bad.check(len(self.files) - len(bad.rows))

    def _decode(self, path: Path) -> None:
        """Decode a whole file and forget it; an error tells the line as its `start`."""
        decoder = codecs.getincrementaldecoder(self._encoding)()
        line = 1
        with path.open("rb") as file:
            while True:
                block = file.read(_BLOCK)
                try:
                    decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    line += error.object[: error.start].count(b"\n")
                    raise UnicodeDecodeError(self._encoding, b"", line, line, error.reason) from None
                if not block:
                    return
                line += block.count(b"\n")

    def pieces(self, left_out: frozenset[str] = frozenset()) -> Iterator[Piece]:
        """Yield the documents of all files but those left out."""
        for number, name in enumerate(self.files):
            if name in left_out:
                continue
            with (self._root / name).open(encoding=self._encoding, newline="") as file:
                for text, begins in cut_lines(self._lines(file), self._unit, self._form):
                    yield Piece(text, begins, number)


def cut_lines(lines: Iterable[str], unit: Unit, form: Normalisation) -> Iterator[tuple[str, bool]]:
    """Yield texts, cleaned, and whether a document begins with each.

    Args:
        lines: Lines with their line breaks.
        unit: What a document is.
        form: Unicode form.
    """
    if unit == "line":
        for line in lines:
            if text := plain(line, form).strip():
                yield text, True
        return
    kept: list[str] = []
    size, begins = 0, True

    def flushed() -> str:
        text = plain("".join(kept), form)
        kept.clear()
        return text.lstrip("\n") if begins else text

    for line in lines:
        blank = unit == "paragraph" and not line.strip()
        if not blank:
            kept.append(line)
            size += len(line)
        if kept and (blank or size >= PIECE):
            text = flushed().rstrip("\n") if blank else flushed()
            if text.strip() or not begins:
                yield text, begins
                begins = False
            size = 0
        begins = begins or blank
    if kept and ((text := flushed().rstrip("\n")).strip() or not begins):
        yield text, begins


class TableTexts:
    """A column of tables; each row is a document."""

    def __init__(self, root: Path, names: Sequence[str], column: str, layout: TableFormat, form: Normalisation) -> None:
        """List the tables; what they hold is read once for the identity.

        Args:
            root: The folder.
            names: The tables in it.
            column: The column with the text.
            layout: How they are written.
            form: Unicode form.
        """
        self.files: Sequence[str] = tuple(names)
        self._root, self._column, self._layout, self._form = root, column, layout, form
        self.num_bytes = sum((root / name).stat().st_size for name in names)
        self.identity = repr(("tables", read_contents(root, names).fingerprint, column, layout, form))

    def check(self, bad: BadRows) -> None:
        """Read every row; those that are none, or have no text, go to `bad`."""
        bad.check(sum(1 for _ in self._rows(bad)))

    def pieces(self, left_out: frozenset[str] = frozenset()) -> Iterator[Piece]:
        """Yield the text of each row that can be used."""
        for file, text in self._rows(BadRows("skip", 1.0)):
            if text := plain(text, self._form).strip():
                for begin in range(0, len(text), PIECE):
                    yield Piece(text[begin : begin + PIECE], begin == 0, file)

    def _rows(self, bad: BadRows) -> Iterator[tuple[int, str]]:
        for number, name in enumerate(self.files):
            for (file, line), values in stream_rows(self._root / name, self._layout, name=name, bad=bad):
                text = self._text(values, file)
                if isinstance(text, str):
                    yield number, text
                else:
                    bad.note(file, line, f"{quoted(self._column)} is no text")

    def _text(self, values: Mapping[str, Any], file: str) -> Any:
        if self._column not in values and not file.endswith((".jsonl", ".ndjson")):
            raise DataError(f"{file} has no column {quoted(self._column)}; data.text names one of {listed(values)}")
        return values.get(self._column)
