"""Mistakes to read: on the console and in a csv file, and nothing of it for pictures."""

import csv
import io

import pytest
import torch

from ptft.command.mistakes import MOST_SHOWN, show_mistakes
from ptft.engine.console import Console
from ptft.errors import DataError
from ptft.task.exhibit import label_exhibits

NUMBER = 12


class Texts:
    """Texts that hold what a table must not trip over."""

    def texts(self, index):
        return [f'=SUM(A{n}), "quoted"\nsecond line' for n in index.tolist()]

    def paths(self):
        return [f"reviews.csv:{n + 2}" for n in range(NUMBER)]


class Pictures(Texts):
    """Data that are no texts."""

    def texts(self, index):
        raise DataError("no texts")


class Kept:
    """A run that keeps what is written in a mapping."""

    def __init__(self):
        self.files = {}

    def write_text(self, name, text):
        self.files[name] = text


@pytest.fixture
def exhibits():
    records = {"index": torch.arange(NUMBER), "label": torch.zeros(NUMBER, dtype=torch.int64)}
    records |= {"prediction": torch.ones(NUMBER, dtype=torch.int64), "score": torch.linspace(0.5, 1, NUMBER)}
    return label_exhibits(records, ["good", "bad"])


def test_the_surest_mistakes_come_first_with_their_text(exhibits, capsys):
    run = Kept()
    assert show_mistakes(Console(), run, Texts(), exhibits) == ["mistakes.csv"]
    rows = list(csv.DictReader(io.StringIO(run.files["report/mistakes.csv"])))
    assert [int(row["index"]) for row in rows] == list(range(NUMBER))[::-1]
    assert rows[0]["text"] == '\'=SUM(A11), "quoted"\nsecond line'  # no formula of a spreadsheet
    assert rows[0]["path"] == "reviews.csv:13" and (rows[0]["label"], rows[0]["prediction"]) == ("good", "bad")
    output = capsys.readouterr().out
    assert output.count("SUM") == MOST_SHOWN and "Most confident mistakes" in output


def test_pictures_have_nothing_to_read(exhibits, capsys):
    run = Kept()
    assert show_mistakes(Console(), run, Pictures(), exhibits) == [] and not run.files
    assert not capsys.readouterr().out
