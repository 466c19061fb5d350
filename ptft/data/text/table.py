"""A table of texts: csv, tsv, json lines or parquet, one file or several in a folder, with columns named in the config.

reviews.csv                              text,label: data.text and data.label say what the columns are called
folder/train.jsonl  folder/test.jsonl    files called train, val and test are these splits
pairs.tsv                                data.text_pair names the second text of each row
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ptft.data.text.examples import TextExamples
from ptft.data.text.labels import read_labels
from ptft.data.text.read_columns import TextColumns, read_tables
from ptft.data.text.read_table import TableFormat
from ptft.data.text.rows import TextRows
from ptft.errors import ConfigError


@dataclass(eq=False, repr=False, kw_only=True)
class TextTable(TextExamples):
    """A table of texts; further settings as told at `TextExamples`.

    Attributes:
        text: The column of the text.
        text_pair: The column of a second text; None: texts stand alone.
        label: The column of the label; with the target `tokens` it need not be there.
        label_separator: What stands between the labels of a row with several; a JSON list is read too.
        split_column: The column that says train, val or test; None: `split` divides.
        separator: What stands between the columns of a csv; auto: found in its first line.
        quotes: Whether fields may stand in double quotes; auto: in csv, not in tsv.
        header: Names of the columns, where the files have no line with them.
        encoding: Encoding of the files.
    """

    text: str = "text"
    text_pair: str | None = None
    label: str | None = "label"
    label_separator: str = "|"
    split_column: str | None = None
    separator: Literal["auto", ",", ";", "tab", "|"] = "auto"
    quotes: bool | Literal["auto"] = "auto"
    header: Sequence[str] | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A setting is out of range, a column is named twice, or labels are wanted and none are named.
        """
        super().__post_init__()
        names = [name for name in (self.text, self.text_pair, self.label, self.split_column) if name is not None]
        if len(set(names)) < len(names):
            raise ConfigError(f"data.text, text_pair, label and split_column name one column twice: {', '.join(names)}")
        if self.label is None and self.target != "tokens":
            raise ConfigError(
                f"data.target={self.target} needs labels, and data.label is null: name their column, or train without "
                "them: data.target=tokens"
            )
        header = tuple(self.header) if self.header is not None else None
        self._layout = TableFormat(separator=self.separator, quotes=self.quotes, header=header, encoding=self.encoding)

    def read(self) -> TextRows:
        """Read the table.

        Raises:
            DataError: There is none, a column is missing, or a row cannot be used.
        """
        columns = TextColumns(
            text=self.text,
            text_pair=self.text_pair,
            label=self.label,
            split=self.split_column,
            labelled=self.target != "tokens",
        )
        return read_tables(self.path, columns, self._layout, self.bad_rows)

    def check(self, rows: TextRows) -> TextRows:
        """Return the rows whose labels can be read, with their labels read."""
        return read_labels(rows, self.target, self.bad_rows, self.label_separator)

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns that `batch_of` reads of a row."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)
