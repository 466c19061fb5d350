"""Texts are made alike in what no reader sees; copies and contradictions go, and all of it is told."""

import numpy as np
import pytest

from ptft.data.text.clean import cleaned, copies, deduplicated, normalised, shared
from ptft.data.text.rows import TextRows


def rows_of(texts, labels=None, **further):
    return TextRows(texts, labels=labels, places=[("rows.csv", number + 2) for number in range(len(texts))], **further)


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("  cafe\u0301 ", "nfc", "café"),
        ("cafe\u0301", "none", "cafe\u0301"),
        ("ＡＢ　ﬁ①", "nfkc", "AB fi1"),
        ("ＡＢ", "nfc", "ＡＢ"),
        ("\ufeffa\x00b\x07\r\nc\rd\x85e\u2028f\tg", "nfc", "ab\nc\nd\ne\nf\tg"),
        ("👩\u200d💻", "nfc", "👩\u200d💻"),  # joined emoji stay joined
        ("\x00 \x1f", "nfc", ""),
    ],
)
def test_texts_are_normalised(text, form, expected):
    assert normalised(text, form) == expected


def test_rows_without_text_are_left_out_and_told():
    rows, notes = cleaned(rows_of(["a", " \x00 ", "b", ""], ["x", "x", "y", "y"]), "nfc")
    assert (rows.texts, rows.labels) == (["a", "b"], ["x", "y"])
    assert notes == ["left out 2 rows without text: rows.csv, line 3; rows.csv, line 5"]
    rows, notes = cleaned(rows_of(["a", "b"], pairs=["", "c"]), "nfc")
    assert (rows.texts, rows.pairs) == (["b"], ["c"])


def test_of_copies_the_first_stays_and_texts_with_several_labels_go():
    rows = rows_of(["a", "b", "a", "c", "b", "d"], ["x", "x", "x", "y", "y", "y"])
    kept, notes = deduplicated(rows, copies(rows), drop_torn=True)
    assert (kept.texts, kept.labels) == (["a", "c", "d"], ["x", "y", "y"])
    assert notes == [
        "removed 1 exact copy of other rows (16.7%): rows.csv, line 4 = rows.csv, line 2",
        "left out 1 text (2 rows) that stand there with several labels: rows.csv, line 3 = rows.csv, line 6",
    ]
    kept, _ = deduplicated(rows, copies(rows), drop_torn=False)
    assert kept.texts == ["a", "b", "c", "d"]


def test_pairs_are_copies_only_where_both_texts_agree():
    rows = rows_of(["a", "a", "a"], pairs=["b", "c", "b"])
    assert [group.tolist() for group in copies(rows)] == [[0, 2]]


def test_copies_in_splits_that_the_data_give_stay_and_are_told():
    rows = rows_of(["a", "a", "a", "b"], ["x", "x", "x", "y"], splits=["train", "train", "test", "test"])
    kept, _ = deduplicated(rows, copies(rows), drop_torn=True)
    assert (kept.texts, kept.splits) == (["a", "a", "b"], ["train", "test", "test"])
    told = shared(kept, copies(kept), {"train": np.array([0]), "val": np.arange(0), "test": np.array([1, 2])})
    assert told == [
        "1 text in both train and test as exact copies: rows.csv, line 2 = rows.csv, line 4; "
        "metrics on test are too good"
    ]
