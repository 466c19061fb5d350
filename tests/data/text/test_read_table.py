"""Rows of tables: every fault of a file is told with its line, and a good row behind a bad one is still read."""

import pyarrow
import pyarrow.parquet
import pytest

from ptft.data.text.bad_rows import BadRows
from ptft.data.text.read_table import LINE_CHARACTERS, TableFormat, stream_rows
from ptft.errors import ConfigError, DataError


@pytest.fixture
def read(tmp_path):
    def run(name, content, **layout):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        bad = BadRows("skip", 1.0)
        rows = list(stream_rows(tmp_path / name, TableFormat(**layout), bad=bad))
        assert all(place[0] == name for place, _ in rows)
        return [(place[1], values) for place, values in rows], {row["line"]: row["reason"] for row in bad.rows}

    return run


def test_each_fault_of_json_lines_is_told_and_the_other_rows_are_read(read):
    lines = [
        b'\xef\xbb\xbf{"text": "first"}\r',  # a byte-order mark, and \r\n
        b"",
        b'{"text": NaN}',
        b'{"text": "broken"',
        b'{"text": "a", "text": "b"}',
        b'["text"]',
        b'{"text": "caf\xe9"}',
        b"[",
        b'{"text": 7, "label": null}',  # of which type a value must be is not known here
        b'{"text": "last"}',  # no line break at the end
    ]
    rows, bad = read("rows.jsonl", b"\n".join(lines))
    assert rows == [(1, {"text": "first"}), (9, {"text": 7, "label": None}), (10, {"text": "last"})]
    assert bad[3] == "this is no JSON: NaN is none of JSON's numbers"
    assert bad[4] == "this is no JSON: Expecting ',' delimiter at column 18"
    assert bad[5] == "this is no JSON: the key `text` stands there twice"
    assert "no JSON object" in bad[6]
    assert bad[7] == "byte 0xe9 is not of the encoding; name another, as data.encoding=latin-1"
    assert "one object stands in one line" in bad[8]


def test_a_line_without_an_end_is_told_and_passed_over(read, monkeypatch):
    monkeypatch.setattr("ptft.data.text.read_table.LINE_CHARACTERS", 100)
    rows, bad = read("rows.jsonl", '{"text": "a"}\n{"text": "' + "x" * 350 + '"}\n{"text": "b"}\n')
    assert [line for line, _ in rows] == [1, 3]
    assert bad == {2: "this line is longer than 100 characters"}
    assert LINE_CHARACTERS > 10_000_000


def test_each_fault_of_a_csv_is_told_with_the_line_where_its_row_begins(read):
    content = b'text,label\n"a, ""quoted""",1\nshort\n"over\ntwo lines",2\n\nlong,3,4\ncaf\xe9,1\n"ab"c,1\n=2+3,2'
    rows, bad = read("rows.csv", content)
    assert rows == [
        (2, {"text": 'a, "quoted"', "label": "1"}),
        (4, {"text": "over\ntwo lines", "label": "2"}),
        (10, {"text": "=2+3", "label": "2"}),  # a formula is text like any other
    ]
    assert bad[3].startswith("1 fields, and the header names 2")
    assert bad[7].startswith("3 fields, and the header names 2; a field that holds `,`")
    assert bad[8].startswith("byte 0xe9 is not of the encoding")
    assert bad[9].startswith("this is no csv")


def test_without_a_collector_the_first_bad_row_stops_the_reading(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\na,1\nb\nc,2\n")
    rows = stream_rows(tmp_path / "rows.csv")
    assert next(rows) == (("rows.csv", 2), {"text": "a", "label": "1"})
    with pytest.raises(DataError, match=r"^rows.csv, line 3: 1 fields.*data.on_bad_sample=skip$"):
        next(rows)


@pytest.mark.parametrize(
    ("first", "layout"),
    [("text;label", {}), ("text\tlabel", {}), ("text|label", {}), ("text;label", {"separator": ";"})],
)
def test_the_separator_is_found_in_the_first_line(read, first, layout):
    sign = first[4]
    rows, bad = read("rows.csv", f"{first}\n a, b {sign}1\n", **layout)
    assert rows == [(2, {"text": " a, b ", "label": "1"})]
    assert not bad


def test_a_quote_means_nothing_in_a_tsv_unless_told(read):
    content = 'text\tlabel\n"he said\t1\n"a"\t2\n'
    assert [values["text"] for _, values in read("rows.tsv", content)[0]] == ['"he said', '"a"']
    rows, _ = read("rows.tsv", 'text\tlabel\n"a\tb"\t2\n', quotes=True)
    assert rows == [(2, {"text": "a\tb", "label": "2"})]
    assert "data.quotes=true" in read("rows.tsv", 'text\tlabel\n"a\tb"\t2\n')[1][2]


def test_a_quote_that_never_closes_is_an_error_even_where_bad_rows_are_left_out(read):
    with pytest.raises(DataError, match=r"rows\.csv, line 3: a field opens with a double quote that nothing closes"):
        read("rows.csv", 'text,label\na,1\n"b,2\nc,1\n')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "rows.csv is empty"),
        ("text,text\na,b\n", "rows.csv, line 1: the column `text` stands there twice.*data.header"),
        ("text,\na,b\n", "a column has no name"),
        ("text,label\na,1\n".encode("utf-16"), "UTF-16; say so with data.encoding=utf-16"),
    ],
)
def test_what_is_wrong_with_a_whole_file_ends_the_reading(read, content, message):
    with pytest.raises(DataError, match=message):
        read("rows.csv", content)


def test_a_file_without_a_header_and_other_encodings_are_read_as_told(read):
    assert read("a.csv", "café,1\n".encode("latin-1"), header=("text", "label"), encoding="latin-1")[0] == [
        (1, {"text": "café", "label": "1"})
    ]
    assert read("b.csv", "text\ncafé\n".encode("utf-16"), encoding="utf-16")[0] == [(2, {"text": "café"})]
    with pytest.raises(ConfigError, match="there is no such encoding"):
        TableFormat(encoding="klingon")
    with pytest.raises(ConfigError, match="each column once"):
        TableFormat(header=("text", "text"))


def test_parquet_is_read_by_rows_and_its_damage_told(tmp_path):
    values = {"text": ["a", None, "c"], "label": [1, 2, 3]}
    pyarrow.parquet.write_table(pyarrow.table(values), tmp_path / "rows.parquet")
    rows = list(stream_rows(tmp_path / "rows.parquet"))
    assert rows[1] == (("rows.parquet", 2), {"text": None, "label": 2})
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"broken\.parquet cannot be read as parquet"):
        list(stream_rows(tmp_path / "broken.parquet"))


def test_lines_of_a_text_file_are_rows(read):
    rows, _ = read("rows.txt", "one\n\n two\r\nthree")
    assert rows == [(1, {"text": "one"}), (3, {"text": " two"}), (4, {"text": "three"})]


def test_other_files_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "rows.json").write_text("[]")
    with pytest.raises(DataError, match="save this one as json lines"):
        list(stream_rows(tmp_path / "rows.json"))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        list(stream_rows(tmp_path / "rows.csv"))


def test_a_long_file_takes_constant_memory(tmp_path):
    import tracemalloc

    with (tmp_path / "rows.csv").open("w") as file:
        file.write("text,label\n")
        file.writelines(f"some text of row {number},1\n" for number in range(6_000))
    peaks = []
    for most in (100, 6_000):
        tracemalloc.start()
        for (_, line), _ in stream_rows(tmp_path / "rows.csv"):
            if line > most:
                break
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000
