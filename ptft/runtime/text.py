"""Texts that come from data - class names, file names - made safe and short enough to be shown.

Nothing here changes what is stored: predictions.csv and summary.json hold names as they are.
"""

import re
import textwrap
import unicodedata

_UNSAFE = re.compile(r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Control characters, and those that no one sees or that turn the direction of a line."""

_ENDS_WITH_COMMAND = re.compile(r": ptft [^`]+$")


def printable(text: str) -> str:
    """Return a text without control characters, which could move the cursor or hide a line of a terminal."""
    return _UNSAFE.sub(_escaped, text)


def one_line(text: str) -> str:
    """Return a text as `printable` does, with its line breaks shown too."""
    return printable(text).replace("\n", "\\n")


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for wide characters, none for combining ones."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def shortened(text: str, width: int) -> str:
    """Return one line of at most `width` columns; of a longer text the middle is left out, as names differ at ends."""
    line = one_line(text)
    if width_of(line) <= width:
        return line
    tail = _fitting(line[::-1], (width - 1) // 3)[::-1]
    return f"{_fitting(line, width - 1 - width_of(tail))}…{tail}"


def wrapped(text: str, width: int) -> str:
    """Return a text whose lines break between words, so that none is wider than `width` where words allow it.

    A line that goes on keeps its indentation. A line that ends with a command to type stays whole, to be copied.
    """
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        whole = _ENDS_WITH_COMMAND.search(line) is not None
        fold = textwrap.TextWrapper(
            max(width, len(indent) + 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        lines += [line] if whole else fold.wrap(line) or [""]
    return "\n".join(lines)


def _fitting(text: str, width: int) -> str:
    """Return the longest beginning of a text that fits into so many columns."""
    end = 0
    while end < len(text) and width_of(text[: end + 1]) <= width:
        end += 1
    return text[:end]


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
