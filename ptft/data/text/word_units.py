"""Words of a text: what carries a tag, where it stands, and how words make a text again.

Languages written with spaces have words; of Chinese and Japanese each character is one. A character is what a reader
takes for one: a letter with the accents behind it, an emoji with its skin tone, joined emoji.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from ptft.data.text.clean import Normalisation, normalised

Span = tuple[int, int]
"""The characters [start, end) of a text."""
_JOINER = "\u200d"
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")
"""Chinese characters and the Japanese syllables."""
_CLITIC = re.compile(r"['’](?:s|S)$")


def clusters(text: str) -> list[Span]:
    """Return the characters of a text as a reader counts them; white space is none."""
    found: list[list[int]] = []
    joined = False
    for place, character in enumerate(text):
        if found and found[-1][1] == place and (joined or _goes_on(character)):
            found[-1][1] = place + 1
        elif not character.isspace():
            found.append([place, place + 1])
        joined = character == _JOINER
    return [(start, end) for start, end in found]


def _goes_on(character: str) -> bool:
    """Tell whether a character belongs to the one before it."""
    if character.isascii():
        return False
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me")
        or character == _JOINER
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )


def cut_words(text: str) -> list[Span]:
    """Return the words of a text written with spaces: punctuation around a word is a word of its own, each sign.

    What stands within a word stays: `Coca-Cola`, `don't`, `3.14`. So does the full stop of `U.N.` and `J.`, and what
    begins with `@` or `#`; an `'s` at the end is a word of its own.
    """
    found: list[Span] = []
    for match in re.finditer(r"\S+", text):
        # Whole characters as a reader counts them: a joined emoji is one sign.
        units = [(match.start() + start, match.start() + end) for start, end in clusters(match[0])]
        low, high = 0, len(units)
        while low < high and _is_sign(text[units[low][0]]) and text[units[low][0]] not in "@#":
            found.append(units[low])
            low += 1
        behind: list[Span] = []
        while low < high and _is_sign(text[units[high - 1][0]]):
            if _abbreviates(text[units[low][0] : units[high - 1][1]]):
                break
            high -= 1
            behind.append(units[high])
        if low < high:
            start, end = units[low][0], units[high - 1][1]
            clitic = _CLITIC.search(text, start, end)
            if clitic is not None and clitic.start() > start:
                behind.append((clitic.start(), end))
                end = clitic.start()
            found.append((start, end))
        found += reversed(behind)
    return found


def _is_sign(character: str) -> bool:
    if character.isalnum():
        return False
    return unicodedata.category(character)[0] in "PS" and not _goes_on(character)


def _abbreviates(word: str) -> bool:
    """Tell whether the full stop at the end belongs to the word."""
    inner = word[:-1]
    return word.endswith(".") and ("." in inner or len(inner) == 1) and inner[-1:].isalpha()


def mostly_characters(texts: Sequence[str]) -> bool:
    """Tell whether most letters of some words are Chinese or Japanese."""
    letters = cjk = 0
    for text in texts:
        letters += sum(character.isalpha() for character in text)
        cjk += len(_CJK.findall(text))
    return 2 * cjk > letters


def spread(row: Sequence[str], tags: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return words as single characters, the tag of each word spread over them: B-X becomes B-X, I-X, I-X ..."""
    characters: list[str] = []
    spread_tags: list[str] = []
    for word, tag in zip(row, tags, strict=True):
        own = _characters(word)
        characters += own
        spread_tags += [tag, *([f"I-{tag[2:]}" if tag.startswith("B-") else tag] * (len(own) - 1))]
    return tuple(characters), tuple(spread_tags)


@lru_cache(maxsize=1 << 16)  # words occur again and again
def _characters(word: str) -> tuple[str, ...]:
    return tuple(word[start:end] for start, end in clusters(word)) or (word,)


_normalised = lru_cache(maxsize=1 << 16)(normalised)


def joined(row: Sequence[str], separator: str, form: Normalisation) -> tuple[str, tuple[Span, ...]]:
    """Return words as one normalised text, and the characters of each in it.

    A word of which nothing is left, or that becomes one character with the word before it, has no characters.
    """
    pieces = [_normalised(word, form) for word in row]
    text = separator.join(piece for piece in pieces if piece)
    if separator or normalised(text, form) == text:
        spans, done = [], 0
        for piece in pieces:
            start = done + (len(separator) if done and piece else 0)
            spans.append((start, start + len(piece)) if piece else (done, done))
            done = spans[-1][1]
        return text, tuple(spans)
    text, spans = "", []
    for piece in pieces:
        longer = normalised(text + piece, form)
        start = len(text) if longer.startswith(text) else len(longer)
        spans.append((start, len(longer)))
        text = longer
    return text, tuple(spans)
