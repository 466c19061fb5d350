"""Files of tagged words in CoNLL's columns, or as `word/TAG`: one file, or a folder with train, val and test files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptft.data.listing import SPLITS, listed, quoted
from ptft.data.text.conll_file import ConllFormat, read_conll
from ptft.data.text.read_table import check_encoding
from ptft.data.text.rows import TextRows
from ptft.data.text.tagged import TaggedTexts
from ptft.errors import ConfigError, DataError

SUFFIXES = (".txt", ".conll", ".conllu", ".tsv", ".iob", ".iob2", ".bio", ".bioes", ".bmes", ".tags")
"""Suffixes of files that hold tagged words, where a folder is given."""
_PARTS = {**SPLITS, "testa": "val", "testb": "test"}
"""What the names of files call the splits; the last two are those of CoNLL-2003."""


@dataclass(eq=False, repr=False, kw_only=True)
class Conll(TaggedTexts):
    """Files of tagged words; further settings as told at `TaggedTexts`.

    Lines that begin with -DOCSTART- begin a document; where a file has several, the column `document` names them.

    Attributes:
        layout: columns: a word and its tag a line; slashes: `word/TAG`, a sentence a line; auto: as the file looks.
        word_column: Which column is the word, from 0 on.
        tag_column: Which column is the tag; -1: the last one.
        separator: What stands between columns; auto: a tab if the first line holds one, else spaces.
        comment: What lines begin with that are passed over; None: there are none.
        scheme: How the tags say where entities begin; auto: found for each file.
        encoding: Encoding of the files.
    """

    layout: Literal["auto", "columns", "slashes"] = "auto"
    word_column: int = 0
    tag_column: int = -1
    separator: Literal["auto", "tab", "space"] = "auto"
    comment: str | None = None
    scheme: Literal["auto", "iob2", "iob1", "bioes", "plain"] = "auto"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A setting is out of range.
        """
        super().__post_init__()
        check_encoding(self.encoding)
        if self.comment == "":
            raise ConfigError("data.comment takes what a line begins with, and every line begins with nothing; give #")
        self._format = ConllFormat(
            layout=self.layout,
            word_column=self.word_column,
            tag_column=self.tag_column,
            separator=self.separator,
            comment=self.comment,
            scheme=self.scheme,
            encoding=self.encoding,
        )

    def read(self) -> TextRows:
        """Read the files.

        Raises:
            DataError: There is none, or a sentence cannot be used.
        """
        files, parts = find_files(self.path)
        words, tags, places, splits, documents = [], [], [], [], []
        schemes: dict[str, list[str]] = {}
        for number, file in enumerate(files):
            found, scheme = read_conll(file, file.name, self._format, self.bad_rows)
            schemes.setdefault(scheme, []).append(file.name)
            several = len({sentence.document for sentence in found}) > 1
            for sentence in found:
                words.append(tuple(sentence.words))
                tags.append(tuple(sentence.tags))
                places.append((file.name, sentence.lines[0]))
                documents.append(f"{file.name} {sentence.document}" if several else "")
            splits += [parts[number]] * len(found) if parts is not None else []
        if "plain" in schemes and len(schemes) > 1:
            raise DataError(
                f"{listed(schemes['plain'])}: the tags are plain, and those of the other files tell where entities "
                "begin; bring them into one scheme"
            )
        return TextRows(
            texts=[""] * len(words),
            labels=tags,
            splits=splits if parts is not None else None,
            columns={"document": documents},
            places=places,
            extra={"words": words},
            notes=tuple(_told(scheme, names) for scheme, names in schemes.items() if scheme != "iob2"),
        )


def _told(scheme: str, names: Sequence[str]) -> str:
    if scheme == "plain":
        return f"{listed(names)}: the tags do not tell where entities begin, so each word is judged by itself"
    return f"{listed(names)}: the tags are written in {scheme.upper()}, and are read as IOB2"


def find_files(path: str | None) -> tuple[list[Path], list[str] | None]:
    """Return the files of a path, and the split that each is by its name, if they are.

    Raises:
        DataError: There are none, or not all of them are splits.
    """
    if not path:
        raise DataError("data.path is not given: name a file of tagged words, as data.path=train.txt, or their folder")
    found = Path(path).expanduser()
    if found.is_file():
        return [found], None
    if not found.is_dir():
        raise DataError(f"data.path={path}: there is no such file or folder (looked for {found.absolute()})")
    every = sorted(file for file in found.iterdir() if file.is_file() and file.name[:1] != ".")
    named = {file: part for file in every if (part := _split_of(file))}
    if "train" in named.values():
        other = [file.name for file in every if file not in named and file.suffix.lower() in SUFFIXES]
        if other:
            raise DataError(
                f"data.path={path}: beside train only val and test may lie there, and {listed(other)} is none of them; "
                "move it out, or give one file"
            )
        return list(named), list(named.values())
    files = [file for file in every if file.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(
            f"data.path={path} holds no tagged words; expected files called train, val and test, or ending in "
            f"{', '.join(SUFFIXES)}; it holds {listed(file.name for file in every) if every else 'nothing'}"
        )
    return files, None


def _split_of(file: Path) -> str:
    """Return the split that a file is by a part of its name, as train.txt, eng.testa, en-dev.conll; else nothing."""
    parts = [_PARTS[part] for part in re.split(r"[-_.]", file.name.casefold()) if part in _PARTS]
    if len(set(parts)) > 1:
        raise DataError(f"{quoted(file.name)} may be {' or '.join(sorted(set(parts)))} by its name; rename it")
    return parts[0] if parts else ""
