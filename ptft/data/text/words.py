"""Where words begin among tokens, so that a whole word can be masked at once (Chinese ones too).

A token begins a word unless it goes on with the letters or digits of the token before it: so `##ing` of WordPiece,
`ing` after `Ġmask` and `k` after `s` in a tokenizer of characters all go on. Chinese is written without spaces. There
words are what a unigram model (Kudo, arXiv 1804.10959) learned from the training texts cuts a row of Chinese characters
into; it travels with the model as words.json.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from ptft.data.text.unigram import Pieces, learn_pieces, segmenter
from ptft.errors import DataError

FILE = "words.json"
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]+")
"""Chinese characters in a row."""
_WORTH = 0.05
"""Share of Chinese characters from which on words are learned."""
_MOST_CHARACTERS = 1_000_000
"""Chinese characters that words are learned from, the first ones."""
_WORDS = 10_000
_LONGEST = 4
"""Characters of a Chinese word, at most."""
Starts = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class WordStarts:
    """Tells where words begin; safe to use in several threads.

    Attributes:
        pieces: Chinese words with the logarithms of their probabilities; empty: each character is a word.
    """

    pieces: tuple[tuple[str, float], ...] = ()
    _segmenter: Tokenizer | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_segmenter", segmenter(self.pieces) if self.pieces else None)

    @classmethod
    def learn(cls, texts: Iterable[str]) -> "WordStarts":
        """Learn the words of training texts, the same from the same texts; without Chinese there are none to learn."""
        rows: Counter[str] = Counter()
        han = everything = 0
        for text in texts:
            everything += len(text)
            for match in _HAN.finditer(text):
                rows[match[0]] += 1
                han += len(match[0])
            if han > _MOST_CHARACTERS:
                break
        if han <= _WORTH * everything:
            return cls()
        characters = sorted({character for row in rows for character in row})
        pieces: Pieces = learn_pieces(rows, _WORDS + len(characters), longest=_LONGEST, characters=characters)
        return cls(tuple(pieces))

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> "WordStarts":
        """Take the words that `files` gave; without words.json none were learned.

        Raises:
            DataError: words.json is damaged.
        """
        if FILE not in files:
            return cls()
        try:
            return cls(tuple((str(text), float(score)) for text, score in json.loads(files[FILE])))
        except (ValueError, TypeError) as error:
            raise DataError(f"{FILE} is damaged ({error}); bring the file back from the run it belongs to") from None

    @property
    def files(self) -> dict[str, str]:
        """What `from_files` needs, by file name; empty where no words were learned."""
        return {FILE: json.dumps(self.pieces, ensure_ascii=False) + "\n"} if self.pieces else {}

    def of(self, encoding: Encoding, text: str, pair: str | None = None) -> Starts:
        """Return which tokens begin a word: (T,) bool; special tokens count as words of their own.

        Args:
            encoding: The tokens, whole or a window of them.
            text: The text, as it was given to the tokenizer.
            pair: The second text, if there was one.
        """
        (starts,) = self.of_all([encoding], [text], None if pair is None else [pair])
        return starts

    def of_all(
        self, encodings: Sequence[Encoding], texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> list[Starts]:
        """Return which tokens begin a word, for several texts at once."""
        firsts = self._characters(texts)
        seconds = self._characters(pairs) if pairs is not None else [None] * len(texts)
        return [_starts(*parts) for parts in zip(encodings, firsts, seconds, strict=True)]

    def _characters(self, texts: Sequence[str]) -> list[Starts]:
        """Return for each text which characters begin a word, or are no part of one."""
        found = []
        for text in texts:
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
            inside = _word_characters()[codes]
            begins = np.ones(len(codes), dtype=np.bool_)
            begins[1:] = ~(inside[1:] & inside[:-1])
            found.append(begins)
        if self._segmenter is not None:
            self._cut_rows(texts, found)
        return found

    def _cut_rows(self, texts: Sequence[str], begins: Sequence[Starts]) -> None:
        """Mark where words begin within rows of Chinese characters."""
        assert self._segmenter is not None
        places = [
            (number, match.start(), match[0]) for number, text in enumerate(texts) for match in _HAN.finditer(text)
        ]
        cuts = self._segmenter.encode_batch([row for _, _, row in places], add_special_tokens=False)
        for (number, start, row), cut in zip(places, cuts, strict=True):
            begins[number][start : start + len(row)] = False
            begins[number][[start + offset[0] for offset in cut.offsets]] = True
            if start + len(row) < len(begins[number]):
                begins[number][start + len(row)] = True


@lru_cache(maxsize=1)
def _word_characters() -> Starts:
    """Return for every code point whether it is a letter, a digit or a mark on one; Chinese ones stand alone."""
    table = np.zeros(0x110000, dtype=np.bool_)
    planes = 0x20000  # letters beyond are Chinese characters
    table[:planes] = np.fromiter((chr(code).isalnum() for code in range(planes)), dtype=np.bool_, count=planes)
    table[0x300:0x370] = True  # combining marks: accents written after their letters
    for first, last in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FA1F)):
        table[first : last + 1] = False
    return table


def _starts(encoding: Encoding, first: Starts, second: Starts | None) -> Starts:
    """Return which tokens begin a word, given which characters of their texts do."""
    spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    parts = np.array([-1 if part is None else part for part in encoding.sequence_ids], dtype=np.int64)
    starts = np.ones(len(spans), dtype=np.bool_)
    for number, begins in ((0, first), (1, second)):
        if begins is None or not len(begins):
            continue
        mine = np.flatnonzero(parts == number)
        begin, end = spans[mine, 0], spans[mine, 1]
        # Spaces before a word belong to its first token: look at what the token writes first.
        starts[mine] = begins[np.minimum(begin, len(begins) - 1)]
        same = np.zeros(len(mine), dtype=np.bool_)
        same[1:] = (begin[1:] == begin[:-1]) & (end[1:] == end[:-1])  # further bytes of one character
        starts[mine[same]] = False
    return starts
