"""Files of tagged words: a word and its tag a line, or `word/TAG` after each other, a sentence a line.

    EU      B-ORG            Anna/B-PER lives/O in/O Berlin/B-LOC ./O
    rejects O                Next/O sentence/O

A blank line ends a sentence of columns. A line that begins with -DOCSTART- begins a document. What is wrong is told
with the file and the line; the sentence it stands in can be left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ptft.data.listing import quoted
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.read_table import LINE_CHARACTERS, open_text, undecodable
from ptft.data.text.rows import told
from ptft.data.text.tag_schemes import TagError, find_scheme, to_iob2
from ptft.errors import DataError

Layout = Literal["auto", "columns", "slashes"]
Separator = Literal["auto", "tab", "space"]
DOCUMENT = "-DOCSTART-"
MOST_WORDS = 10_000
"""Words of a sentence from which on a blank line is taken to be missing."""
_LOOKED_AT = 50
"""Lines that tell how a file is written."""
_BLANKS = re.compile("[ \t]+")
"""What separates: of white space only these two, as others (a wide space, say) may be words."""


@dataclass(frozen=True, kw_only=True)
class ConllFormat:
    """How files of tagged words are written.

    Attributes:
        layout: columns: a word a line; slashes: `word/TAG`, a sentence a line; auto: as the first lines look.
        word_column: Which column is the word, from 0 on; negative: from the end.
        tag_column: Which column is the tag.
        separator: What stands between columns; auto: a tab if the first line holds one, else spaces.
        comment: What lines to pass over begin with; None: there are none.
        scheme: How tags say where entities begin; auto: as those of the file do.
        encoding: Encoding of the files.
    """

    layout: Layout = "auto"
    word_column: int = 0
    tag_column: int = -1
    separator: Separator = "auto"
    comment: str | None = None
    scheme: str = "auto"
    encoding: str = "utf-8"


@dataclass
class Sentence:
    """A sentence as read: words, their tags, the line of each in the file, and the number of its document; 0: none."""

    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    document: int = 0


def read_conll(path: Path, name: str, layout: ConllFormat, bad: BadRows) -> tuple[list[Sentence], str]:
    """Return the sentences of a file, their tags in IOB2 (or plain), and the scheme that they were written in.

    Args:
        path: The file.
        name: What messages call it.
        layout: How it is written.
        bad: Takes the sentences that cannot be used.

    Raises:
        DataError: The file cannot be read, is empty, mixes schemes, or a sentence cannot be used and none may be left
            out.
    """
    with open_text(path, name, layout.encoding) as file:
        lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(iter(file.readline, ""), start=1))
        kept = [(number, line) for number, line in lines if not _is_comment(line, layout.comment)]
    slashes = layout.layout == "slashes" or (layout.layout == "auto" and _has_slashes(kept))
    sentences = list(_slashed(kept, name, bad) if slashes else _columns(kept, name, layout, bad))
    if not sentences and not any(row["file"] == name for row in bad.rows):
        raise DataError(f"{name} holds no sentence; expected a word and its tag a line, or word/TAG")
    scheme = layout.scheme
    if scheme == "auto":
        scheme, doubt = find_scheme(sentence.tags for sentence in sentences)
        if doubt is not None:
            raise _mixed(sentences, doubt, name)
    good = []
    for sentence in sentences:
        try:
            sentence.tags = list(to_iob2(sentence.tags, scheme))
            good.append(sentence)
        except TagError as error:
            bad.note(name, sentence.lines[error.place], str(error))
    return good, scheme


def _is_comment(line: str, mark: str | None) -> bool:
    return mark is not None and line.startswith(mark)


def _mixed(sentences: list[Sentence], doubt: tuple[int, int], name: str) -> DataError:
    row, word = doubt
    sentence = sentences[row]
    return DataError(
        f"{told(name, sentence.lines[word])}: {quoted(sentence.tags[word])} begins an entity, as only IOB1 writes it, "
        "while others of this file begin with B-, as only IOB2 does. Mend the file; or data.scheme=iob1 takes both for "
        "the beginning of an entity"
    )


def _has_slashes(lines: list[tuple[int, str]]) -> bool:
    """Tell whether nearly all of the first lines consist of `word/TAG`."""
    some = [line for _, line in lines if line.strip(" \t") and not line.startswith(DOCUMENT)][:_LOOKED_AT]
    slashed = sum(all(all(item.rpartition("/")[::2]) for item in line.split()) for line in some)
    return slashed > 0.9 * len(some)


def _slashed(lines: list[tuple[int, str]], name: str, bad: BadRows) -> Iterator[Sentence]:
    """Yield the sentences of lines of `word/TAG`."""
    document = 0
    for number, line in lines:
        if line.startswith(DOCUMENT):
            document += 1
            continue
        items = [item for item in _BLANKS.split(line) if item]
        pairs = [item.rpartition("/")[::2] for item in items]
        wrong = next((item for item, pair in zip(items, pairs, strict=True) if not all(pair)), None)
        if reason := _unusable(line, len(items)) or (_no_tag(wrong) if wrong is not None else ""):
            bad.note(name, number, reason)
        elif pairs:
            yield Sentence([word for word, _ in pairs], [tag for _, tag in pairs], [number] * len(pairs), document)


def _no_tag(item: str) -> str:
    return f"{quoted(item[:40])} is no word/TAG: a word, a slash and its tag"


def _columns(lines: list[tuple[int, str]], name: str, layout: ConllFormat, bad: BadRows) -> Iterator[Sentence]:
    """Yield the sentences of lines of columns."""
    table = _Table(name, layout)
    sentence, document, wrong = Sentence(), 0, False
    for number, line in [*lines, (0, "")]:
        starts = line.startswith(DOCUMENT)
        if starts or not line.strip(" \t"):
            if sentence.words and not wrong:
                yield sentence
            document += starts
            sentence, wrong = Sentence(document=document), False
        elif not wrong:
            word, tag, reason = table.read(number, line)
            if reason := reason or _unusable(line, len(sentence.words) + 1):
                bad.note(name, number, reason)
                wrong = True  # the whole sentence
            sentence.words.append(word)
            sentence.tags.append(tag)
            sentence.lines.append(number)


def _unusable(line: str, num_words: int) -> str:
    if len(line) >= LINE_CHARACTERS:
        return f"a line of {len(line):,} characters"
    if num_words > MOST_WORDS:
        return f"a sentence of more than {MOST_WORDS:,} words; a blank line ends a sentence"
    return undecodable(line)


class _Table:
    """Splits lines into columns, as many in each as in the first one."""

    def __init__(self, name: str, layout: ConllFormat) -> None:
        self._name = name
        self._layout = layout
        self._tabs = layout.separator == "tab"
        self._width = 0

    def read(self, number: int, line: str) -> tuple[str, str, str]:
        """Return the word and the tag of a line; or what is wrong with it.

        Raises:
            DataError: The first line has no such columns.
        """
        if not self._width and self._layout.separator == "auto":
            self._tabs = "\t" in line.strip(" \t")
        fields = line.split("\t") if self._tabs else _BLANKS.split(line.strip(" \t"))
        self._width = self._width or self._checked(number, fields)
        if len(fields) != self._width:
            what = "columns" if len(fields) > 1 else "column"
            return "", "", f"{len(fields)} {what}, where the lines before have {self._width}"
        word, tag = (fields[place].strip(" ") for place in (self._layout.word_column, self._layout.tag_column))
        reason = "" if word and tag else f"the {'tag' if word else 'word'} is empty"
        return word, tag, reason

    def _checked(self, number: int, fields: list[str]) -> int:
        width = len(fields)
        for key in ("word_column", "tag_column"):
            place = getattr(self._layout, key)
            if not -width <= place < width:
                raise DataError(
                    f"{told(self._name, number)}: data.{key}={place}, but there are {width} columns; count from 0, or "
                    "from the end with -1, -2 ..."
                )
        if (self._layout.word_column - self._layout.tag_column) % width == 0:
            hint = "each word needs a tag beside it" if width == 1 else "give another data.tag_column"
            raise DataError(f"{told(self._name, number)}: word and tag are the same of {width} columns; {hint}")
        return width
