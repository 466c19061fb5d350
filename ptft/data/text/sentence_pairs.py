"""Pairs of segments for next-sentence prediction (BERT, arXiv 1810.04805, section 3.1 and appendix A.2).

Example i begins with the sentence that holds token i * room of the split, so that together they go through all of it
about once. From there sentences of the document are taken until the pair is full; it is divided between two of them, at
random. In half of the cases the second segment is replaced by sentences of another document. Where a document ends
after one sentence, the one before is taken too; a document of one sentence always gets a foreign second segment.
Which and what is drawn for (seed, epoch, index): new pairs in every epoch, always the same ones in evaluation.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ptft.data.data_module import Batch
from ptft.data.text.rows import Rows
from ptft.data.text.token_store import Stream
from ptft.runtime.random import Draws

SHORT = 0.1
"""Share of the pairs that are made shorter on purpose, as in BERT: of 2 tokens to all there is room for."""
# What a draw is for: the slots of `Draws`.
_LENGTH, _HOW_SHORT, _DIVIDE, _FOLLOWS, _FOREIGN = range(5)


@dataclass(frozen=True)
class SentencePairs:
    """Pairs of segments, half of which follow each other.

    Attributes:
        stream: The tokens, with their sentences.
        length: Most tokens of a pair, [CLS] and twice [SEP] among them.
        cls: Number of the token before the first segment.
        sep: Number of the token behind each segment.
        first: The `index` of the first pair.
        pad: Number of the token that fills shorter pairs.
    """

    stream: Stream
    length: int
    cls: int
    sep: int
    first: int = 0
    pad: int = 0

    def __len__(self) -> int:
        """The number of pairs."""
        return -(-len(self.stream) // (self.length - 3))

    def has_strangers(self) -> bool:
        """Tell whether there are sentences of two documents at least."""
        low, high = self._document_of(np.zeros(1, dtype=np.int64))
        return int(high[0] - low[0]) < len(self.stream.sentences)

    def gather(self, numbers: Rows, seed: int, epoch: Tensor) -> Batch:
        """Return pairs: `input_ids`, `attention_mask`, `token_type_ids`, `word_start` (B, T), `next_sentence` (B,)."""
        draws = Draws(seed, epoch, torch.from_numpy(numbers)).child("pairs")
        first, second, follows = self._segments(numbers, draws)
        return self._laid_out(numbers, first, second, follows)

    def _segments(self, numbers: Rows, draws: Draws) -> tuple[tuple[Rows, Rows], tuple[Rows, Rows], Rows]:
        """Return where both segments begin and end, uncut, and whether the second one follows."""
        stream, room = self.stream, self.length - 3
        short = draws.uniform(_LENGTH).numpy() < SHORT
        target = np.where(short, 2 + _below(draws, _HOW_SHORT, np.full(len(numbers), room - 1)), room)
        begin = np.searchsorted(stream.sentences, numbers * room, side="right") - 1
        low, high = self._document_of(begin)
        end = self._until(begin, target, high)
        begin = np.where((end - begin < 2) & (begin > low), begin - 1, begin)
        count = end - begin
        divide = begin + 1 + _below(draws, _DIVIDE, np.maximum(count - 1, 1))
        divide = np.minimum(divide, end)
        follows = (draws.uniform(_FOLLOWS).numpy() < 0.5) & (count > 1)
        # A sentence of another document: those of this one lie in a row and are stepped over.
        foreign = _below(draws, _FOREIGN, len(stream.sentences) - (high - low))
        foreign = np.where(foreign >= low, foreign + high - low, foreign)
        filled = self._place(divide) - self._place(begin)
        foreign_end = self._until(foreign, np.maximum(target - filled, 1), self._document_of(foreign)[1])
        second = np.where(follows, divide, foreign), np.where(follows, end, foreign_end)
        return (
            (self._place(begin), self._place(divide)),
            (self._place(second[0]), self._place(second[1])),
            follows.astype(np.int64),
        )

    def _place(self, sentence: Rows) -> Rows:
        """Return where sentences begin; the one after the last begins where the stream ends."""
        last = len(self.stream.sentences) - 1
        found = self.stream.sentences[np.minimum(sentence, last)]
        return np.where(sentence > last, len(self.stream), found)

    def _document_of(self, sentence: Rows) -> tuple[Rows, Rows]:
        """Return the first sentence of the document of each sentence, and the one after its last."""
        stream = self.stream
        number = np.searchsorted(stream.documents, stream.sentences[sentence], side="right")
        last = len(stream.documents) - 1
        begin = stream.documents[number - 1]
        end = np.where(number > last, len(stream), stream.documents[np.minimum(number, last)])
        return np.searchsorted(stream.sentences, begin), np.searchsorted(stream.sentences, end)

    def _until(self, begin: Rows, target: Rows, most: Rows) -> Rows:
        """Return the sentence before which `target` tokens from sentence `begin` on are full, at most `most`."""
        end = np.searchsorted(self.stream.sentences, self._place(begin) + target)
        return np.minimum(np.maximum(end, begin + 1), most)

    def _laid_out(self, numbers: Rows, first: tuple[Rows, Rows], second: tuple[Rows, Rows], follows: Rows) -> Batch:
        """Return [CLS] first [SEP] second [SEP]; the longer one is cut, on the sides that do not touch."""
        room = self.length - 3
        sizes = first[1] - first[0], second[1] - second[0]
        one = np.minimum(sizes[0], np.maximum(room - sizes[1], (room + 1) // 2))[:, None]
        two = np.minimum(sizes[1][:, None], room - one)
        steps = np.arange(self.length)
        in_first = (steps >= 1) & (steps <= one)
        in_second = (steps >= one + 2) & (steps < one + 2 + two)
        places = np.where(in_first, first[1][:, None] - one + steps - 1, second[0][:, None] + steps - one - 2)
        inside = in_first | in_second
        places = np.where(inside, places, 0)
        tokens = np.full(places.shape, self.pad, dtype=np.int64)
        tokens[inside] = self.stream.ids[places[inside]]
        tokens[:, 0] = self.cls
        tokens = np.where((steps == one + 1) | (steps == one + two + 2), self.sep, tokens)
        mask = torch.from_numpy((steps <= one + two + 2).astype(np.int64))
        batch = {
            "input_ids": torch.from_numpy(tokens),
            "attention_mask": mask,
            "token_type_ids": torch.from_numpy((steps >= one + 2).astype(np.int64)) * mask,
            "next_sentence": torch.from_numpy(follows),
            "index": torch.from_numpy(self.first + numbers),
        }
        if self.stream.word_start is not None:
            batch["word_start"] = torch.from_numpy(self.stream.word_start[places] | ~inside)
        return batch


def _below(draws: Draws, slot: int, high: Rows | int) -> Rows:
    """Return int64 evenly spread over [0, high) for each example: (B,); `high` is 1 to 2**31."""
    bits = (draws.bits(slot).numpy() >> 32) & ((1 << 32) - 1)
    found: Rows = (bits * high) >> 32
    return found
