"""Files of rows that are written row by row: whole rows, torn ends."""

import csv
import io
import json

import pytest

from ptft.runtime import records
from ptft.runtime.records import facts_of, part_of, rows_there, whole_rows

ROWS = [["id", "text"], ["1", "plain"], ["2", "a\nb"], ["3", 'say "x\n"'], ["4", "é\r"]]


def table():
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(ROWS)
    return text.getvalue().encode()


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 20])
def test_whole_rows_are_counted_wherever_the_file_is_cut(tmp_path, monkeypatch, block):
    monkeypatch.setattr(records, "_BLOCK", block)
    whole = table()
    path = tmp_path / "a.csv"
    ends = [0]
    for count in range(1, len(ROWS) + 1):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(ROWS[:count])
        ends.append(len(text.getvalue().encode()))
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        count = sum(end <= cut for end in ends) - 1
        assert whole_rows(path, quoted=True) == (count, ends[count])


def test_lines_end_rows_where_nothing_is_quoted(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "\\""}\n{"b": 1}\n{"c')
    assert whole_rows(path, quoted=False) == (2, 21)


def test_what_is_there_is_told_in_words(tmp_path):
    path = tmp_path / "a.csv"
    part = part_of(path)
    part.write_bytes(table())
    assert rows_there(part) == "4 rows"
    facts_of(path).write_text(json.dumps({"rows": 1200}))
    assert rows_there(part) == "4 of 1,200 rows"
    facts_of(path).write_text("[")
    assert rows_there(part) == "4 rows"
    assert rows_there(path) == "rows that cannot be read"
    path.write_bytes(b"")
    assert rows_there(path) == "0 rows"
