"""Blocks of a token store, packed full: no padding but in the last block of a split.

    causal   tokens [k * L, k * L + L) of the split's stream, and as labels those one further on: a token is predicted
             exactly once. A separator stands before the first document and behind each one.
    masked   [CLS], L - 2 tokens, [SEP]; a separator stands behind each document

With isolated documents `document` numbers those of a block from 1 on. A separator belongs to the document it begins
(causal) or ends (masked), so no document is predicted from another. Legend: B batch, T = L tokens of a block.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptft.data.data_module import Batch
from ptft.data.text.encoded import IGNORED
from ptft.data.text.rows import Rows
from ptft.data.text.token_store import Array, Stream


class Blocks(Protocol):
    """Examples cut from a token store."""

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def gather(self, numbers: Rows, seed: int, epoch: Tensor) -> Batch:
        """Return some examples as a batch.

        Args:
            numbers: (B,) int64, which ones.
            seed: Seed of what is drawn for them.
            epoch: (B,) int64, the epoch of each.
        """
        ...


@dataclass(frozen=True)
class CausalBlocks:
    """Blocks for a model that goes on with a text.

    Attributes:
        stream: The tokens.
        length: Tokens of a block.
        first: The `index` of the first block.
        pad: Number of the token that fills the last block.
        isolate: Whether `document` is given.
    """

    stream: Stream
    length: int
    first: int = 0
    pad: int = 0
    isolate: bool = False

    def __len__(self) -> int:
        """The number of blocks."""
        return max(0, -(-(len(self.stream) - 1) // self.length))

    def gather(self, numbers: Rows, seed: int, epoch: Tensor) -> Batch:
        """Return blocks: what all batches hold, `labels` (B, T), and `num_bytes` (B,) of the text that these are."""
        stream, length = self.stream, self.length
        tokens = rows_of(stream.ids, numbers, length, 0, self.pad)
        labels = rows_of(stream.ids, numbers, length, 1, IGNORED)
        given = labels != IGNORED  # the last token of all is predicted, but predicts nothing
        tokens[~given] = self.pad
        batch = _batch(tokens, given, self.first + numbers)
        batch["labels"] = torch.from_numpy(labels)
        if stream.num_bytes is not None:
            batch["num_bytes"] = torch.from_numpy(rows_of(stream.num_bytes, numbers, length, 1, 0).sum(1))
        if self.isolate:
            begin = numbers * length + 1  # the separator before a document begins it
            batch["document"] = torch.from_numpy(_numbered(document_marks(stream.documents, begin, length), given))
        return batch


@dataclass(frozen=True)
class MaskedBlocks:
    """Blocks for a model that sees both sides of a token.

    Attributes:
        stream: The tokens.
        length: Tokens of a block, [CLS] and [SEP] among them.
        cls: Number of the token before a block.
        sep: Number of the token behind a block.
        first: The `index` of the first block.
        pad: Number of the token that fills the last block.
        isolate: Whether `document` is given.
    """

    stream: Stream
    length: int
    cls: int
    sep: int
    first: int = 0
    pad: int = 0
    isolate: bool = False

    def __len__(self) -> int:
        """The number of blocks."""
        return -(-len(self.stream) // (self.length - 2))

    def gather(self, numbers: Rows, seed: int, epoch: Tensor) -> Batch:
        """Return blocks: what all batches hold, and `word_start` (B, T)."""
        stream, room = self.stream, self.length - 2
        counts = np.minimum(len(stream) - numbers * room, room)
        tokens = np.empty((len(numbers), self.length), dtype=np.int64)
        tokens[:, 0] = self.cls
        tokens[:, 1:-1] = rows_of(stream.ids, numbers, room, 0, self.pad)
        tokens[:, -1] = self.pad
        tokens[np.arange(len(numbers)), counts + 1] = self.sep
        inside = np.arange(self.length) <= counts[:, None] + 1
        batch = _batch(tokens, inside, self.first + numbers)
        if stream.word_start is not None:
            starts = np.ones(tokens.shape, dtype=np.bool_)
            starts[:, 1:-1] = rows_of(stream.word_start, numbers, room, 0, 1)
            batch["word_start"] = torch.from_numpy(starts)
        if self.isolate:
            marks = np.zeros(tokens.shape, dtype=np.bool_)
            marks[:, 2:-1] = document_marks(stream.documents, numbers * room, room)[:, 1:]  # [CLS] begins the first one
            batch["document"] = torch.from_numpy(_numbered(marks, inside))
        return batch


def rows_of(values: Array, numbers: Rows, length: int, shift: int, fill: int) -> Array:
    """Return the parts [k * length + shift, (k + 1) * length + shift) of a column as rows: (B, length) int64.

    Args:
        values: (N,) the column.
        numbers: (B,) int64, k of each row.
        length: Values of a row.
        shift: Where the first row begins.
        fill: What stands in a row behind the end of the column.
    """
    whole = max(0, len(values) - shift) // length
    table = values[shift : shift + whole * length].reshape(whole, length)
    if int(numbers.max(initial=-1)) < whole:
        return table[numbers].astype(np.int64)
    found = np.full((len(numbers), length), fill, dtype=np.int64)
    full = numbers < whole
    found[full] = table[numbers[full]]
    rest = values[shift + whole * length :]
    found[~full, : len(rest)] = rest
    return found


def document_marks(documents: Array, begin: Rows, length: int) -> npt.NDArray[np.bool_]:
    """Return which of the places [begin, begin + length) of a stream begin a document: (B, length).

    Args:
        documents: (D,) int64, where documents begin.
        begin: (B,) int64.
        length: Places of each row.
    """
    low, high = np.searchsorted(documents, begin), np.searchsorted(documents, begin + length)
    counts = high - low
    row = np.repeat(np.arange(len(begin)), counts)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    marks = np.zeros((len(begin), length), dtype=np.bool_)
    marks[row, documents[np.repeat(low, counts) + within] - np.repeat(begin, counts)] = True
    return marks


def _numbered(starts: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_]) -> Rows:
    """Return the number of each token's document within its block, from 1 on, and 0 for padding: (B, T)."""
    starts[:, 0] = True
    found: Rows = starts.cumsum(1, dtype=np.int64) * inside
    return found


def _batch(tokens: Rows, inside: npt.NDArray[np.bool_], index: Rows) -> Batch:
    """Return what all batches of text hold."""
    mask = torch.from_numpy(inside.astype(np.int64))
    return {
        "input_ids": torch.from_numpy(tokens),
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(mask),
        "index": torch.from_numpy(index),
    }
