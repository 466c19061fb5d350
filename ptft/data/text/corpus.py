"""Raw text of one's own for language models: files in a folder, one file, or a column of tables.

texts/a.txt  texts/2024/b.txt        every file is a document, or (data.documents) every line or paragraph of it
input.txt                            one file; a single document is cut into train, val and test
pages.jsonl  pages.parquet           data.text=body: every row is a document; data.files="*.parquet" takes a folder
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptft.data.listing_folder import checked_root
from ptft.data.text.documents import Documents, TableTexts, TextFiles
from ptft.data.text.packed_text import PackedText
from ptft.data.text.read_folder import list_texts
from ptft.data.text.read_table import FORMATS, TableFormat, check_encoding
from ptft.errors import ConfigError, DataError


@dataclass(eq=False, repr=False, kw_only=True)
class Corpus(PackedText):
    """Raw text in files; further settings as told at `PackedText`.

    Attributes:
        files: Which files of a folder are taken, by a pattern for their names.
        text: The column with the text, where the files are csv, tsv, json lines or parquet; None: they are plain text.
        documents: What a document is: a file, a line, or lines between blank ones; of tables it is a row.
        encoding: How the files are written.
    """

    files: str = "*.txt"
    text: str | None = None
    documents: Literal["file", "line", "paragraph"] = "file"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A setting is out of range, or two do not go together.
        """
        super().__post_init__()
        check_encoding(self.encoding)
        if self.text is not None and self.documents != "file":
            raise ConfigError(
                f"data.text={self.text} makes every row of a table a document, and data.documents={self.documents} "
                "cuts files of plain text; leave one of them out"
            )

    def read(self) -> Documents:
        """List the documents of the file, or of the files in the folder.

        Raises:
            DataError: There are none, or something about them is wrong.
        """
        if not self.path:
            raise DataError("data.path is not given: name a folder of texts, or a file, as data.path=texts/")
        given = Path(self.path).expanduser()
        if given.is_file():
            root, names = given.resolve().parent, [given.resolve().name]
        else:
            root = checked_root(self.path, "texts")
            names = list_texts(root, self.files)
        if self.text is not None:
            return TableTexts(root, names, self.text, TableFormat(encoding=self.encoding), self.normalisation)
        if tables := [name for name in names if name.lower().endswith(FORMATS)]:
            raise DataError(
                f"{tables[0]} is a table: name the column with the text, as data.text=text, or take other files "
                "(data.files)"
            )
        return TextFiles(root, names, self.documents, self.encoding, self.normalisation)
