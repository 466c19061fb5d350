"""A folder of your own texts, a file each: class folders, train/val/test folders or no labels; see `read_folder.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptft.data.listing_folder import checked_root
from ptft.data.text.examples import TextExamples
from ptft.data.text.read_folder import read_folder
from ptft.data.text.read_table import FORMATS, check_encoding
from ptft.data.text.rows import TextRows
from ptft.errors import ConfigError, DataError


@dataclass(eq=False, repr=False, kw_only=True)
class TextFolder(TextExamples):
    """Texts in files; further settings as told at `TextExamples`.

    Attributes:
        target: class: the folder that a file lies in; tokens: no label.
        files: Which files are texts, by a pattern for their names.
        encoding: Encoding of the files.
    """

    target: Literal["class", "tokens"] = "class"
    files: str = "*.txt"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A setting is out of range, or there is no such encoding.
        """
        super().__post_init__()
        check_encoding(self.encoding)
        if not self.files or "/" in self.files:
            raise ConfigError(f"data.files takes a pattern for names of files, as *.txt, found `{self.files}`")

    def read(self) -> TextRows:
        """Read the files.

        Raises:
            DataError: There are none, one cannot be used, or it cannot be told what the folders mean.
        """
        if self.path is not None and Path(self.path).suffix.lower() in FORMATS and Path(self.path).is_file():
            raise DataError(f"data.path={self.path} is a table, and a folder is expected; take data=text/table")
        encoding = "utf-8-sig" if self.encoding.casefold() in ("utf-8", "utf8") else self.encoding
        return read_folder(
            checked_root(self.path, "texts"),
            self.files,
            self.bad_rows,
            labelled=self.target != "tokens",
            decode=lambda data: data.decode(encoding),
        )
