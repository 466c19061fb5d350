"""Columns by name: texts, pairs, labels, splits and whatever else there is; a wrong row is told with its line."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from ptft.data.text.bad_rows import BadRows
from ptft.data.text.read_columns import TEXT_CHARACTERS, TextColumns, read_tables
from ptft.data.text.read_table import TableFormat
from ptft.errors import DataError


def read(path, bad=None, **columns):
    return read_tables(str(path), TextColumns(**columns), TableFormat(), bad or BadRows())


@pytest.fixture
def write(tmp_path):
    def run(name, *rows):
        path = tmp_path / name
        path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
        return path

    return run


def test_columns_are_taken_by_their_names_and_further_ones_kept(write):
    path = write("rows.csv", "id,question,answer,same,part", "1,a,b,yes,train", "2,c,d,no,dev")
    rows = read(path, text="question", text_pair="answer", label="same", split="part")
    assert (rows.texts, rows.pairs, rows.labels, rows.splits) == (
        ["a", "c"],
        ["b", "d"],
        ["yes", "no"],
        ["train", "val"],
    )
    assert rows.columns == {"id": ["1", "2"]}
    assert [rows.where(0), rows.place(1)] == ["rows.csv, line 2", "rows.csv:3"]


def test_the_same_rows_come_from_every_kind_of_file(write, tmp_path):
    csv = read(write("rows.csv", "text,label,shop", "a,x,1", '"b, c",y,2'))
    lines = read(write("rows.jsonl", {"text": "a", "label": "x", "shop": 1}, {"text": "b, c", "label": "y", "shop": 2}))
    table = pyarrow.table({"text": ["a", "b, c"], "label": ["x", "y"], "shop": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    parquet = read(tmp_path / "rows.parquet")
    assert csv.texts == lines.texts == parquet.texts
    assert csv.labels == lines.labels == parquet.labels
    assert csv.columns == lines.columns == parquet.columns
    assert parquet.where(1) == "rows.parquet, row 2"


def test_files_named_after_splits_are_splits_and_others_one_table(write, tmp_path):
    write("train-00000-of-00002.csv", "text,label", "a,x")
    write("train-00001-of-00002.csv", "text,label", "b,x")
    write("validation.csv", "text,label", "c,x")
    rows = read(tmp_path)
    assert rows.splits == ["train", "train", "val"]
    assert rows.places[2] == ("validation.csv", 2)
    with pytest.raises(DataError, match="but the names of the files say it"):
        read(tmp_path, split="part")
    write("notes.csv", "text,label", "d,x")
    with pytest.raises(DataError, match=r"`notes\.csv` is none of them; move it out"):
        read(tmp_path)
    for name in ("train-00000-of-00002.csv", "train-00001-of-00002.csv", "validation.csv"):
        (tmp_path / name).unlink()
    write("other.csv", "text,label", "e,x")
    rows = read(tmp_path)
    assert (rows.splits, rows.texts) == (None, ["d", "e"])


def test_a_missing_column_is_named_with_those_there_are(write):
    path = write("rows.csv", "review,mood", "a,x")
    with pytest.raises(
        DataError, match=r"rows.csv: there is no column `text` \(data.text\), but `review`, `mood`; name it"
    ):
        read(path)
    with pytest.raises(DataError, match=r"no column `revew` \(data.text\).*did you mean data.text=review\?"):
        read(path, text="revew", label="mood")
    with pytest.raises(DataError, match=r"name the columns: data.header=\[text,label\]"):
        read(write("bare.csv", "a very long text that stands in the first line of the file,1", "b,2"))
    rows = read(path, text="review", labelled=False)  # without labels a missing column of labels is no mistake
    assert rows.labels is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"label": "x"}, r"there is no column `text` \(data.text\), but `label`"),
        ({"text": "a"}, r"there is no column `label`"),
        ({"text": 7, "label": "x"}, "the text is a int, expected a text"),
        ({"text": ["a"], "label": "x"}, "the text is a list, expected a text"),
        ({"text": "\ud800", "label": "x"}, "half of a pair of surrogates"),
        ({"text": "a", "label": "x", "note": "\udc00"}, "half of a pair of surrogates"),
        ({"text": "a" * (TEXT_CHARACTERS + 1), "label": "x"}, "a text of 1,000,001 characters"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_or_left_out(write, row, reason):
    path = write("rows.jsonl", {"text": "good", "label": "x"}, row, {"text": None, "label": "x"})
    with pytest.raises(DataError, match=f"^rows.jsonl, line 2: .*{reason}"):
        read(path)
    bad = BadRows("skip", 1.0)
    assert read(path, bad).texts == ["good", ""]  # null is an empty text, which cleaning counts
    assert [(entry["file"], entry["line"]) for entry in bad.rows] == [("rows.jsonl", 2)]


def test_a_split_that_is_none_is_told_with_the_nearest_name(write):
    path = write("rows.csv", "text,label,part", "a,x,train", "b,x,tset")
    with pytest.raises(
        DataError, match=r"line 3: the split `tset` is none of train, val, test .*did you mean `test`\?"
    ):
        read(path, split="part")


def test_no_file_and_no_rows_are_told(write, tmp_path):
    with pytest.raises(DataError, match=r"data\.path is not given"):
        read_tables(None, TextColumns(), TableFormat(), BadRows())
    with pytest.raises(DataError, match="there is no such file or folder"):
        read(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"holds no table; ptft reads .*data=text/folder"):
        read(tmp_path)
    with pytest.raises(DataError, match="there are no rows"):
        read(write("rows.csv", "text,label"))


def test_more_bad_rows_than_allowed_are_an_error_that_counts_them():
    bad = BadRows("skip", 0.1)
    for line in range(2):
        bad.note("rows.csv", line + 2, "no text")
    bad.check(18)
    with pytest.raises(DataError, match=r"2 of 19 rows cannot be used, 10.5% where data.max_bad=0.1 allows 10.0%"):
        bad.check(17)
    assert bad.notes() == ["left out 2 rows that cannot be used: rows.csv, line 2: no text; rows.csv, line 3: no text"]
