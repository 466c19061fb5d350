"""Texts to token numbers: many at a time by the tokenizer's own threads, with a bar where it takes long."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy.typing as npt

from ptft.data.text.encoded import Encoded, encoded, join
from ptft.data.text.tokenizer import TextTokenizer
from ptft.runtime.progress import progress

_AT_ONCE = 2048
"""Texts that are tokenised together: few enough that their encodings take little memory."""
_MANY = 20_000
"""Texts from which on it is told how far it is."""


def encode_texts(
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int | None = None,
    fixed: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Encoded:
    """Return each text, or pair of texts, as one entry; what is longer than `max_length` tokens is cut.

    Args:
        tokenizer: The tokenizer.
        texts: The texts.
        pairs: The second text of each; None: there are none.
        max_length: Most tokens, the special ones counted; None: no limit.
        fixed: Columns of one value a text.

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
            encodings = tokenizer.encode(some, seconds, max_length=max_length)
            ragged = {"input_ids": [encoding.ids for encoding in encodings]}
            if pairs is not None:
                ragged["token_type_ids"] = [encoding.type_ids for encoding in encodings]
            cut = sum(1 for encoding in encodings if encoding.overflowing)
            parts.append(encoded(range(start, start + len(some)), ragged, padding=padding, num_truncated=cut))
            advance(len(some))
    return join(parts, fixed)
