"""Examples of text as read, before any token is made: texts, pairs, raw labels, and where each one stands."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from ptft.data.listing import listed
from ptft.errors import RowError

Rows = npt.NDArray[np.int64]
"""Numbers of examples."""
Place = tuple[str, int]
"""A file, relative to the folder of the data, and the line (of a parquet file the row) from 1 on; 0: the whole file."""


@dataclass(frozen=True)
class TextRows:
    """What a data set of texts is read into; row i of each sequence is example i.

    Attributes:
        texts: The texts.
        pairs: The second text of each, where examples are pairs; None: they are single texts.
        labels: What the source says of each: a name, several, a number, the tags of its words; None: no labels.
        splits: `train`, `val` or `test` of each, where the data come divided; None: they do not.
        columns: Further columns, one text a row.
        places: Where each row stands; empty: nowhere that could be told.
        extra: Further values of each row that a subclass needs to encode it (words, answers), kept in step.
        notes: What a person should know of how they were read.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None = None
    labels: Sequence[Any] | None = None
    splits: Sequence[str] | None = None
    columns: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    places: Sequence[Place] = ()
    extra: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Rows) -> "TextRows":
        """Return some rows, in the order given."""
        numbers = rows.tolist()

        def some(values: Sequence[Any]) -> list[Any]:
            return [values[number] for number in numbers]

        return dataclasses.replace(
            self,
            texts=some(self.texts),
            pairs=some(self.pairs) if self.pairs is not None else None,
            labels=some(self.labels) if self.labels is not None else None,
            splits=some(self.splits) if self.splits is not None else None,
            columns={name: some(values) for name, values in self.columns.items()},
            places=some(self.places) if self.places else (),
            extra={name: some(values) for name, values in self.extra.items()},
        )

    def all_texts(self, rows: Rows) -> Iterator[str]:
        """Yield the texts of some rows, each followed by its pair if there is one."""
        for row in rows.tolist():
            yield self.texts[row]
            if self.pairs is not None:
                yield self.pairs[row]

    def where(self, row: int) -> str:
        """Return where a row stands, for a sentence: `reviews.csv, line 17`."""
        return told(*self.places[row]) if self.places else f"example {row}"

    def place(self, row: int) -> str:
        """Return where a row stands, for a table: `reviews.csv:17`."""
        if not self.places:
            return str(row)
        file, line = self.places[row]
        return f"{file}:{line}" if line else file


def told(file: str, line: int) -> str:
    """Return a place for a sentence: `reviews.csv, line 17`; rows of a parquet file are no lines."""
    unit = "row" if PurePosixPath(file).suffix.lower() == ".parquet" else "line"
    return f"{file}, {unit} {line}" if line else file


def texts_of(rows: Sequence[Mapping[str, Any]], name: str, usual: str) -> list[str]:
    """Return a field of rows that a user gives, which may call it by its own name or by the usual one.

    Raises:
        RowError: A row has no such field, or it is no text.
    """
    found = []
    for number, row in enumerate(rows):
        value = row.get(name, row.get(usual))
        if not isinstance(value, str):
            what = "is missing" if value is None else f"is a {type(value).__name__}, expected a text"
            raise RowError(f"the field `{name}` {what}; the row has {listed(row)}", number)
        found.append(value)
    return found
