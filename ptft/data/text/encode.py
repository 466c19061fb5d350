"""Texts to token numbers: many at a time by the tokenizer's own threads, with a bar where it takes long."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy.typing as npt
from tokenizers import Encoding

from ptft.data.text.encoded import Encoded, encoded, join
from ptft.data.text.tokenizer import TextTokenizer
from ptft.data.text.words import WordStarts
from ptft.runtime.progress import progress

_AT_ONCE = 2048
"""Texts that are tokenised together: few enough that their encodings take little memory."""
_MANY = 20_000
"""Texts from which on it is told how far it is."""
_CHARACTERS = 8
"""Characters of a text that are looked at first, for each token that is kept; a token is four or five on average."""
_MARGIN = 16
"""Tokens that must lie behind those kept before the rest of a text is left unread."""


def encode_texts(
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int | None = None,
    fixed: Mapping[str, npt.NDArray[Any]] | None = None,
    words: WordStarts | None = None,
) -> Encoded:
    """Return each text, or pair of texts, as one entry; what is longer than `max_length` tokens is cut.

    Args:
        tokenizer: The tokenizer.
        texts: The texts.
        pairs: The second text of each; None: there are none.
        max_length: Most tokens, the special ones counted; None: no limit.
        fixed: Columns of one value a text.
        words: Tells where words begin, for a column `word_start`; None: there is none.

    Raises:
        DataError: `max_length` leaves no room for text.
    """
    parts = []
    padding = {"input_ids": tokenizer.special_tokens.get("pad", 0)}
    telling = progress("tokenising", len(texts), "texts") if len(texts) >= _MANY else nullcontext(lambda count: None)
    with telling as advance:
        for start in range(0, max(1, len(texts)), _AT_ONCE):
            some = texts[start : start + _AT_ONCE]
            seconds = pairs[start : start + _AT_ONCE] if pairs is not None else None
            encodings = _encodings(tokenizer, some, seconds, max_length)
            ragged: dict[str, Sequence[Any]] = {"input_ids": [encoding.ids for encoding in encodings]}
            if pairs is not None:
                ragged["token_type_ids"] = [encoding.type_ids for encoding in encodings]
            if words is not None:
                ragged["word_start"] = words.of_all(encodings, some, seconds)
            cut = sum(1 for encoding in encodings if encoding.overflowing)
            parts.append(encoded(range(start, start + len(some)), ragged, padding=padding, num_truncated=cut))
            advance(len(some))
    return join(parts, fixed)


def _encodings(
    tokenizer: TextTokenizer, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int | None
) -> list[Encoding]:
    """Return the encodings of texts; of long ones only the beginning is read, where the rest is cut off anyway.

    A beginning that ends before white space, or a mark of Chinese, has the tokens that the whole text begins with, as
    tokenizers cut texts there first; those that do not are a few tokens off near its end at most, which are not kept.
    """
    if max_length is None or pairs is not None:
        return tokenizer.encode(texts, pairs, max_length=max_length)
    heads = [_head(text, _CHARACTERS * max_length) for text in texts]
    encodings = tokenizer.encode(heads, max_length=max_length)
    again = [
        number
        for number, (head, text) in enumerate(zip(heads, texts, strict=True))
        if len(head) < len(text) and sum(len(part) for part in encodings[number].overflowing) < _MARGIN
    ]
    if again:
        whole = tokenizer.encode([texts[number] for number in again], max_length=max_length)
        for number, encoding in zip(again, whole, strict=True):
            encodings[number] = encoding
    return encodings


def _head(text: str, most: int) -> str:
    """Return the beginning of a text, at most so many characters, that ends before white space or a mark; else all."""
    if len(text) <= most:
        return text
    end = most
    while end > most // 2 and not _divides(text[end]):
        end -= 1
    return text[:end] if _divides(text[end]) else text


def _divides(character: str) -> bool:
    return character.isspace() or character in "，。！？；：、"
