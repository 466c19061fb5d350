"""Questions with their texts as token numbers: windows of a long text that overlap, and where in them the answer lies.

Only the text is cut, never the question. A window begins `stride` tokens before the end of the one before it, so that
an answer of at most `stride` + 1 tokens lies whole in one of them; a longer one that lies in none is counted.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding

from ptft.data.text.encoded import Encoded, encoded, join
from ptft.data.text.rows import Rows
from ptft.data.text.squad_file import Answer
from ptft.data.text.tokenizer import TextTokenizer
from ptft.errors import RowError
from ptft.runtime.progress import progress

_AT_ONCE = 512
"""Questions that are tokenised together: few enough that their encodings take little memory."""
_MANY = 10_000
"""Questions from which on it is told how far it is."""


@dataclass(frozen=True)
class Windows:
    """Encoded windows.

    Attributes:
        encoded: One entry a window: `input_ids`, `token_type_ids`, `char_start`, `char_end` (the characters of the
            text behind each token, 0 and 0 for other tokens) and, fixed, `start`, `end` (tokens of the answer; 0 and 0
            where the window does not hold it) and `windows` (how many windows the example has).
        lost: (L,) rows whose answer lies in no window.
    """

    encoded: Encoded
    lost: Rows


def encode_windows(
    tokenizer: TextTokenizer,
    questions: Sequence[str],
    contexts: Sequence[str],
    answers: Sequence[Sequence[Answer]] | None = None,
    *,
    max_length: int,
    stride: int,
) -> Windows:
    """Return questions with their texts as windows, in the order of the questions.

    Args:
        tokenizer: The tokenizer.
        questions: The questions.
        contexts: The text that each is asked about.
        answers: The right answers of each, of which the first one is learned; None: they are not known.
        max_length: Most tokens of a window, those of the question and the special ones counted.
        stride: Tokens that neighbouring windows share.

    Raises:
        RowError: A question leaves too little room for its text, or a text has no token.
    """
    parts, lost = [], []
    telling = progress("tokenising", len(questions), "questions")
    with telling if len(questions) >= _MANY else nullcontext(lambda count: None) as advance:
        for begin in range(0, len(questions), _AT_ONCE):
            rows = range(begin, min(begin + _AT_ONCE, len(questions)))
            some = slice(rows.start, rows.stop)
            columns = _Columns()
            for row, encoding in zip(rows, tokenizer.encode(questions[some], contexts[some]), strict=True):
                own = answers[row] if answers is not None else ()
                if not columns.add(row, encoding, own, max_length, stride):
                    lost.append(row)
            parts.append(columns.encoded(tokenizer.special_tokens.get("pad", 0)))
            advance(len(rows))
    return Windows(join(parts), np.array(lost, dtype=np.int64))


class _Columns:
    """The columns of some windows, one by one."""

    def __init__(self) -> None:
        self.index: list[int] = []
        self.ragged: dict[str, list[list[int]]] = {
            name: [] for name in ("input_ids", "token_type_ids", "char_start", "char_end")
        }
        self.fixed: dict[str, list[int]] = {name: [] for name in ("start", "end", "windows")}

    def add(self, row: int, encoding: Encoding, answers: Sequence[Answer], max_length: int, stride: int) -> bool:
        """Add the windows of a row; tell whether one of them holds the answer, if there is one.

        Raises:
            RowError: The question leaves too little room, or the text has no token.
        """
        ids, types, parts = encoding.ids, encoding.type_ids, encoding.sequence_ids  # each access makes a list
        # The tokens [first, last) are the text; before them stands the question, behind them what ends the pair.
        text = [place for place, part in enumerate(parts) if part == 1]
        if not text:
            raise RowError("the text holds nothing that becomes a token", row)
        first, last = text[0], text[-1] + 1
        behind = len(ids) - last
        beside = first + behind
        room = max_length - beside
        if room <= stride and room < last - first:
            raise RowError(
                f"the question and special tokens take {beside} of data.max_length={max_length} tokens, and windows of "
                f"the text share data.stride={stride}; shorten the question, or give a larger data.max_length",
                row,
            )
        offsets = encoding.offsets[first:last]
        found = _answer_tokens(offsets, answers[0]) if answers else None
        held = not answers
        cuts = list(_cuts(last - first, room, stride))
        for begin, end in cuts:
            inside = found is not None and begin <= found[0] and found[1] < end
            held = held or inside
            shift = first - begin
            own = slice(first + begin, first + end)
            chars = [(0, 0)] * first + offsets[begin:end] + [(0, 0)] * behind
            self.index.append(row)
            self.ragged["input_ids"].append(ids[:first] + ids[own] + ids[last:])
            self.ragged["token_type_ids"].append(types[:first] + types[own] + types[last:])
            self.ragged["char_start"].append([start for start, _ in chars])
            self.ragged["char_end"].append([stop for _, stop in chars])
            self.fixed["start"].append(found[0] + shift if found is not None and inside else 0)
            self.fixed["end"].append(found[1] + shift if found is not None and inside else 0)
            self.fixed["windows"].append(len(cuts))
        return held

    def encoded(self, pad: int) -> Encoded:
        """Return them as arrays."""
        fixed = {name: np.array(values, dtype=np.int64) for name, values in self.fixed.items()}
        return encoded(self.index, self.ragged, fixed=fixed, padding={"input_ids": pad})


def _cuts(length: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Yield the windows [begin, end) of a text of so many tokens."""
    begin = 0
    while begin + room < length:
        yield begin, begin + room
        begin += room - stride
    yield begin, length


def _answer_tokens(offsets: Sequence[tuple[int, int]], answer: Answer) -> tuple[int, int] | None:
    """Return the first and the last token that hold a character of an answer; None where none does.

    Args:
        offsets: The characters of each token.
        answer: The answer.
    """
    begin, end = answer[1], answer[1] + len(answer[0])
    inside = [place for place, (start, stop) in enumerate(offsets) if start < end and stop > begin and stop > start]
    return (inside[0], inside[-1]) if inside else None
