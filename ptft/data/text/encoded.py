"""Texts as token numbers: flat arrays with offsets, from which padded batches are gathered.

An entry is one row of a batch: a text, or one of the windows that a long text was cut into. So several entries may
share an example's `index`.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ptft.data.data_module import Batch
from ptft.data.text.rows import Rows

IGNORED = -100
"""The label of a place that does not count, as torch's cross entropy and transformers have it."""
Array = npt.NDArray[Any]


MULTIPLE = 8
"""Batches differ in so many tokens at least: a CPU's library keeps code of its own for each shape it meets, in bf16
gigabytes of it where every batch has another one."""


@dataclass(frozen=True)
class Encoded:
    """Encoded entries.

    Attributes:
        offsets: (M + 1,) int64; entry m holds the tokens [offsets[m], offsets[m + 1]).
        index: (M,) int64, the number of the example that each entry is (a part) of, in rising order.
        ragged: Columns of one value a token, each (tokens of all entries,), by their name in a batch: `input_ids`
            int32, and as needed `token_type_ids`, `labels`, `word_start` (bool) ...
        fixed: Columns of one value an entry, each (M, ...): `label`, `start`, `end` ...
        padding: What fills a ragged column behind a shorter text, by name; else 0, and -100 for `labels`.
        num_truncated: How many texts were cut.
    """

    offsets: Rows
    index: Rows
    ragged: Mapping[str, Array]
    fixed: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    padding: Mapping[str, int] = dataclasses.field(default_factory=dict)
    num_truncated: int = 0

    def __len__(self) -> int:
        return len(self.index)

    @property
    def lengths(self) -> Rows:
        """(M,) int64, the tokens of each entry."""
        return np.diff(self.offsets)

    @cached_property
    def longest(self) -> int:
        """The tokens of the longest entry."""
        return int(self.lengths.max(initial=0))

    def width(self, length: int) -> int:
        """Return T of a batch whose longest entry has so many tokens."""
        return max(1, length, min(length + -length % MULTIPLE, self.longest))

    def told(self) -> str:
        """Return how many texts were cut, in brackets; nothing where none was."""
        return f" ({self.num_truncated:,} texts are longer and are cut)" if self.num_truncated else ""

    def entries_of(self, rows: Rows) -> Rows:
        """Return the numbers of the entries of some examples, in rising order."""
        wanted = np.zeros(int(self.index.max(initial=-1)) + 1, dtype=bool)
        wanted[rows] = True
        return np.flatnonzero(wanted[self.index])

    def gather(self, entries: Rows) -> Batch:
        """Return a batch of some entries, each padded on the right to the longest of them or a little further.

        T is a multiple of `MULTIPLE`, or the length of the longest entry of all.

        Returns:
            `input_ids`, `attention_mask`, `token_type_ids` (B, T) int64, the other ragged columns (B, T), the fixed
            columns (B, ...), and `index` (B,).
        """
        begin = self.offsets[entries]
        lengths = self.offsets[entries + 1] - begin
        steps = np.arange(self.width(int(lengths.max(initial=1))))
        inside = steps < lengths[:, None]  # (B, T)
        places = (begin[:, None] + steps)[inside]
        batch: Batch = {}
        for name, values in self.ragged.items():
            kind = values.dtype if values.dtype == np.bool_ else np.dtype(np.int64)
            column = np.full(inside.shape, self.padding.get(name, IGNORED if name == "labels" else 0), dtype=kind)
            column[inside] = values[places]
            batch[name] = torch.from_numpy(column)
        batch["attention_mask"] = torch.from_numpy(inside.astype(np.int64))
        if "token_type_ids" not in batch:
            batch["token_type_ids"] = torch.zeros_like(batch["attention_mask"])
        for name, values in self.fixed.items():
            taken = torch.from_numpy(values[entries])
            batch[name] = taken if taken.is_floating_point() or taken.dtype == torch.bool else taken.to(torch.int64)
        batch["index"] = torch.from_numpy(self.index[entries])
        return batch


def encoded(
    index: Sequence[int] | Rows,
    ragged: Mapping[str, Sequence[Sequence[int]]],
    *,
    fixed: Mapping[str, Array] | None = None,
    padding: Mapping[str, int] | None = None,
    num_truncated: int = 0,
) -> Encoded:
    """Return entries given one by one.

    Args:
        index: The example that each entry is of.
        ragged: The values of each entry by column; all columns have the same lengths.
        fixed: Columns of one value an entry.
        padding: See `Encoded`.
        num_truncated: How many texts were cut.
    """
    lengths = [len(values) for values in ragged["input_ids"]]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    columns = {name: _flat(name, values, int(offsets[-1])) for name, values in ragged.items()}
    return Encoded(offsets, np.asarray(index, dtype=np.int64), columns, fixed or {}, padding or {}, num_truncated)


def _flat(name: str, values: Sequence[Sequence[int]], size: int) -> Array:
    # A type is a segment (0 or 1), a word's start true or false: four bytes a token would be three too many.
    kinds: dict[str, Any] = {"token_type_ids": np.int8, "word_start": np.bool_}
    return np.fromiter(chain.from_iterable(values), dtype=kinds.get(name, np.int32), count=size)


def join(parts: Iterable[Encoded], fixed: Mapping[str, Array] | None = None) -> Encoded:
    """Return the entries of several parts in a row.

    Args:
        parts: One or more, all with the same columns.
        fixed: Further columns of one value an entry, of all parts together.
    """
    every = list(parts)
    lengths = np.concatenate([part.lengths for part in every])
    first = every[0]
    return Encoded(
        np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
        np.concatenate([part.index for part in every]),
        {name: np.concatenate([part.ragged[name] for part in every]) for name in first.ragged},
        {**{name: np.concatenate([part.fixed[name] for part in every]) for name in first.fixed}, **(fixed or {})},
        first.padding,
        sum(part.num_truncated for part in every),
    )
