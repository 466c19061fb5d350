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

from ptft.data.data_module import Batch
from ptft.data.text.encoded import IGNORED
from ptft.data.text.rows import Rows
from ptft.data.text.token_store import Array, Stream
from ptft.runtime.random import Draws


class Blocks(Protocol):
    """Examples cut from a token store."""

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def gather(self, numbers: Rows, draws: Draws) -> Batch:
        """Return the examples `numbers`, (B,) int64, as a batch; whatever is drawn, is drawn from `draws`."""
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

    def gather(self, numbers: Rows, draws: Draws) -> Batch:
        """Return blocks: what all batches hold, `labels` (B, T), and `num_bytes` (B,) of the text that these are."""
        begin = numbers * self.length
        places = begin[:, None] + np.arange(self.length + 1)  # (B, T + 1)
        inside = places < len(self.stream)
        np.minimum(places, len(self.stream) - 1, out=places)
        tokens = self.stream.ids[places].astype(np.int64)
        given = inside[:, 1:]  # the last token of all is predicted, but predicts nothing
        batch = _batch(np.where(given, tokens[:, :-1], self.pad), given, self.first + numbers)
        batch["labels"] = torch.from_numpy(np.where(given, tokens[:, 1:], IGNORED))
        if self.stream.num_bytes is not None:
            sizes = self.stream.num_bytes[places[:, 1:]].astype(np.int64)
            batch["num_bytes"] = torch.from_numpy((sizes * given).sum(1))
        if self.isolate:
            starts = document_marks(self.stream.documents, begin + 1, self.length)  # the separator before it begins one
            batch["document"] = torch.from_numpy(_numbered(starts, given))
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

    def gather(self, numbers: Rows, draws: Draws) -> Batch:
        """Return blocks: what all batches hold, and `word_start` (B, T)."""
        room = self.length - 2
        begin = numbers * room
        counts = np.minimum(len(self.stream) - begin, room)[:, None]
        steps = np.arange(self.length)
        places = np.clip(begin[:, None] + steps - 1, 0, len(self.stream) - 1)  # (B, T)
        tokens = self.stream.ids[places].astype(np.int64)
        tokens[:, 0] = self.cls
        tokens = np.where(steps <= counts, tokens, np.where(steps == counts + 1, self.sep, self.pad))
        batch = _batch(tokens, steps <= counts + 1, self.first + numbers)
        if self.stream.word_start is not None:
            text = (steps >= 1) & (steps <= counts)
            batch["word_start"] = torch.from_numpy(self.stream.word_start[places] | ~text)
        if self.isolate:
            marks = document_marks(self.stream.documents, begin, room)
            starts = np.zeros(tokens.shape, dtype=np.bool_)
            starts[:, 1:-1] = marks
            starts[:, 1] = False  # [CLS] begins the first one
            batch["document"] = torch.from_numpy(_numbered(starts, steps <= counts + 1))
        return batch


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
