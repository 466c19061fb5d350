"""Tagged words as tokens: the first token of a word carries its tag; long texts come as windows that overlap.

Where windows overlap, each word is spoken for by the window in which it stands farther from the edge, so that every
word counts exactly once, in training and in evaluation, and nothing has to be merged but the order.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from tokenizers import Encoding

from ptft.data.text.encoded import IGNORED, Encoded, encoded, join
from ptft.data.text.tokenizer import TextTokenizer
from ptft.data.text.word_units import Span
from ptft.errors import ConfigError
from ptft.runtime.progress import progress

NOBODY = -1
"""Stands for a token that speaks for no word."""
_AT_ONCE = 2048
_MANY = 20_000
"""Texts from which on it is told how far it is."""


@dataclass(frozen=True)
class TaggedWindows:
    """Tagged texts as tokens.

    Attributes:
        encoded: One entry a window: `input_ids`, `labels` (-100 where no tag counts), `word` (the number of the word
            that a token speaks for, -1 for none) and, fixed, `windows` (how many windows the example has).
        num_unspoken: Entities whose first word no token speaks for: they cannot be found.
    """

    encoded: Encoded
    num_unspoken: int


def encode_tagged(
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    spans: Sequence[Sequence[Span]],
    tags: Sequence[Sequence[int]] | None = None,
    begins: Sequence[bool] = (),
    *,
    max_length: int,
    overlap: int,
) -> TaggedWindows:
    """Return tagged texts as windows, in the order of the texts.

    Args:
        tokenizer: The tokenizer.
        texts: The texts.
        spans: The characters of each word of a text.
        tags: The tag of each word; None: they are not known.
        begins: For each tag whether it begins an entity.
        max_length: Most tokens of a window, the special ones counted.
        overlap: Tokens that neighbouring windows share, at least.

    Raises:
        ConfigError: Windows would share more tokens than they have room for.
    """
    room = max_length - tokenizer.num_special()
    if overlap >= room:
        raise ConfigError(
            f"data.overlap={overlap} leaves no room for new tokens in windows of data.max_length={max_length} with "
            f"{tokenizer.num_special()} special tokens; give at most {max(0, room - 1)}, or longer windows"
        )
    parts, unspoken = [], 0
    telling = progress("tokenising", len(texts), "texts")
    with telling if len(texts) >= _MANY else nullcontext(lambda count: None) as advance:
        for first in range(0, max(1, len(texts)), _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, len(texts)))
            columns = _Columns(room, overlap)
            for row, encoding in zip(some, tokenizer.encode(texts[first : some.stop]), strict=True):
                own = tags[row] if tags is not None else None
                words = columns.add(row, encoding, spans[row], own)
                if own is not None:
                    unspoken += sum(begins[tag] for tag in own) - sum(begins[own[word]] for word in words if word >= 0)
            parts.append(columns.encoded(tokenizer.special_tokens.get("pad", 0)))
            advance(len(some))
    return TaggedWindows(join(parts), unspoken)


class _Columns:
    """The columns of some windows, one by one."""

    def __init__(self, room: int, overlap: int) -> None:
        self._room = room
        self._overlap = overlap
        self.index: list[int] = []
        self.ragged: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "word": []}
        self.windows: list[int] = []

    def add(self, row: int, encoding: Encoding, spans: Sequence[Span], tags: Sequence[int] | None) -> list[int]:
        """Add the windows of a text; return the word that each of its tokens speaks for."""
        text = [place for place, part in enumerate(encoding.sequence_ids) if part == 0]
        # Special tokens stand before and behind the text, and not within it.
        first, last = (text[0], text[-1] + 1) if text else (len(encoding.ids),) * 2
        words = speakers(encoding.offsets[first:last], spans)
        before, body, after = encoding.ids[:first], encoding.ids[first:last], encoding.ids[last:]
        cuts = list(_cuts(len(body), self._room, self._overlap))
        for begin, end, own_begin, own_end in cuts:
            own = [words[place] if own_begin <= place < own_end else NOBODY for place in range(begin, end)]
            word = [NOBODY] * len(before) + own + [NOBODY] * len(after)
            self.index.append(row)
            self.ragged["input_ids"].append([*before, *body[begin:end], *after])
            self.ragged["word"].append(word)
            labels = [IGNORED if number < 0 or tags is None else tags[number] for number in word]
            self.ragged["labels"].append(labels)
            self.windows.append(len(cuts))
        return words

    def encoded(self, pad: int) -> Encoded:
        """Return them as arrays."""
        fixed = {"windows": np.array(self.windows, dtype=np.int64)}
        return encoded(self.index, self.ragged, fixed=fixed, padding={"input_ids": pad, "word": NOBODY})


def speakers(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """Return the number of the word that each token is the first of, or -1.

    Args:
        offsets: The characters of each token, in order.
        spans: The characters of each word, in order.
    """
    found, word = [], 0
    for start, end in offsets:
        # Words without a token: without characters, or part of the token before.
        while word < len(spans) and (spans[word][0] == spans[word][1] or spans[word][1] <= start):
            word += 1
        if word < len(spans) and end > start and end > spans[word][0]:
            found.append(word)
            word += 1
        else:
            found.append(NOBODY)
    return found


def _cuts(length: int, room: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the windows [begin, end) of a text, each with the tokens [own_begin, own_end) that it speaks for."""
    starts = [0]
    while starts[-1] + room < length:
        starts.append(min(starts[-1] + room - overlap, length - room))
    # The middle of what two neighbours share.
    edges = [0, *((left + room + right) // 2 for left, right in pairwise(starts)), length]
    for number, begin in enumerate(starts):
        yield begin, min(begin + room, length), edges[number], edges[number + 1]
