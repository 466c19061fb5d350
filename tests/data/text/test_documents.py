"""Documents of raw text: what one is, in pieces, whatever the encoding."""

import json

import pytest

from ptft.data.text import documents
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.documents import TableTexts, TextFiles, cut_lines
from ptft.data.text.read_table import TableFormat
from ptft.errors import DataError

TEXT = "\n\nFirst  line\x07\r\nsecond e\u0301\n \n\nThird\n"


def read(root, names, unit="file", encoding="utf-8"):
    """Return the documents, each as the list of its pieces."""
    found = []
    for piece in TextFiles(root, names, unit, encoding, "nfc").pieces():
        if piece.begins:
            found.append([])
        found[-1].append(piece.text)
    return found


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("file", ["First  line\nsecond é\n \n\nThird"]),
        ("line", ["First  line", "second é", "Third"]),
        ("paragraph", ["First  line\nsecond é", "Third"]),
    ],
)
def test_a_file_is_one_document_or_its_lines_or_paragraphs(unit, wanted, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8", newline="")
    assert ["".join(parts) for parts in read(tmp_path, ["a.txt"], unit)] == wanted


def test_empty_files_are_no_documents_and_marks_of_byte_order_are_dropped(tmp_path):
    (tmp_path / "a.txt").write_text(" \n\n", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes("\ufeffÄ".encode())
    (tmp_path / "c.txt").write_bytes("Ö".encode("latin-1"))
    assert read(tmp_path, ["a.txt", "b.txt"]) == [["Ä"]]
    assert read(tmp_path, ["c.txt"], encoding="latin-1") == [["Ö"]]


def test_long_documents_come_in_pieces_that_end_with_lines(monkeypatch, tmp_path):
    monkeypatch.setattr(documents, "PIECE", 50)
    lines = [f"line {number}\n" for number in range(40)]
    (tmp_path / "a.txt").write_text("".join(lines), encoding="utf-8")
    (pieces,) = read(tmp_path, ["a.txt"])
    assert len(pieces) > 5 and "".join(pieces) == "".join(lines).rstrip("\n")
    assert all(piece.endswith("\n") for piece in pieces[:-1])
    (paragraph,) = ["".join(text for text, _ in cut_lines(lines, "paragraph", "nfc"))]
    assert paragraph == "".join(lines).rstrip("\n")


def test_what_is_not_of_the_encoding_is_named_with_its_line(tmp_path):
    (tmp_path / "good.txt").write_text("fine", encoding="utf-8")
    (tmp_path / "bad.txt").write_bytes(b"one\ntwo \xff\n")
    files = TextFiles(tmp_path, ["bad.txt", "good.txt"], "file", "utf-8", "nfc")
    with pytest.raises(DataError, match=r"bad\.txt, line 2: .*latin-1"):
        files.check(BadRows())
    bad = BadRows("skip", 0.5)
    files.check(bad)
    assert [row["file"] for row in bad.rows] == ["bad.txt"]
    assert [piece.text for piece in files.pieces(frozenset(["bad.txt"]))] == ["fine"]
    with pytest.raises(DataError, match="1 of 2 rows"):
        files.check(BadRows("skip", 0.4))


def test_rows_of_tables_are_documents(tmp_path):
    rows = [{"body": "One\ntwo"}, {"body": 3}, {"body": " "}, {"body": "Three"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "b.csv").write_text("body,x\nFour,1\n", encoding="utf-8")
    table = TableTexts(tmp_path, ["a.jsonl", "b.csv"], "body", TableFormat(), "nfc")
    assert [(piece.text, piece.file) for piece in table.pieces()] == [("One\ntwo", 0), ("Three", 0), ("Four", 1)]
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: `body` is no text"):
        table.check(BadRows())
    with pytest.raises(DataError, match=r"b\.csv has no column `text`; data\.text names one of"):
        list(TableTexts(tmp_path, ["b.csv"], "text", TableFormat(), "nfc").pieces())


def test_the_identity_tells_contents_and_preparation(tmp_path):
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")

    def identity(unit="file", form="nfc"):
        return TextFiles(tmp_path, ["a.txt"], unit, "utf-8", form).identity

    before = identity()
    assert before == identity() and len({before, identity("line"), identity(form="nfkc")}) == 3
    (tmp_path / "a.txt").write_text("two", encoding="utf-8")
    assert identity() != before
