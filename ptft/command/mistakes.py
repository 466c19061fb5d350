"""Mistakes to read: what the data hold as texts stands on the console and in report/mistakes.csv, the surest first."""

import csv
import io
import math
from collections.abc import Sequence

from ptft.command.report import cell
from ptft.data.data_module import DataModule
from ptft.engine.console import Console
from ptft.engine.run_dir import RunDirectory
from ptft.errors import DataError
from ptft.runtime.text import shortened
from ptft.task.exhibit import Exhibit, Gallery

MOST_SHOWN = 5
"""Mistakes printed; all that the task chose stand in the csv file."""
_LEAST_TEXT, _NAME = 24, 16
"""Columns of a terminal: the least for a text, and the most for a label or a place."""


def show_mistakes(console: Console, run: RunDirectory, data: DataModule, exhibits: Sequence[Exhibit]) -> list[str]:
    """Print the texts of galleries and write them into report/; returns the names of the files.

    Nothing is shown of data that are no texts: their galleries are drawn.
    """
    written = []
    for gallery in (exhibit for exhibit in exhibits if isinstance(exhibit, Gallery)):
        try:
            texts = data.texts(gallery.index)
        except DataError:
            return []
        _print(console, gallery, texts)
        run.write_text(f"report/{gallery.name}.csv", _table(gallery, texts, data.paths()))
        written.append(f"{gallery.name}.csv")
    return written


def _print(console: Console, gallery: Gallery, texts: Sequence[str]) -> None:
    width = max(console.rich.width - 3 * _NAME, _LEAST_TEXT)
    rows = [
        {
            "label": shortened(caption.label, _NAME),
            "prediction": shortened(caption.prediction, _NAME),
            **({"score": f"{caption.score:.3f}"} if _scored(gallery) else {}),
            "text": shortened(text, width),
        }
        for caption, text in zip(gallery.captions[:MOST_SHOWN], texts, strict=False)
    ]
    console.table(gallery.title, rows)


def _table(gallery: Gallery, texts: Sequence[str], paths: Sequence[str]) -> str:
    """Return the gallery as csv, with the score and the place of each text if there are any."""
    scored = _scored(gallery)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    score = ["score"] if scored else []
    writer.writerow(["index", "label", "prediction", *score, "text", *(["path"] if paths else [])])
    for number, caption, text in zip(gallery.index.tolist(), gallery.captions, texts, strict=True):
        row = [number, cell(caption.label), cell(caption.prediction), *([caption.score] if scored else []), cell(text)]
        writer.writerow([*row, *([cell(paths[number])] if paths else [])])
    return file.getvalue()


def _scored(gallery: Gallery) -> bool:
    return any(math.isfinite(caption.score) for caption in gallery.captions)
