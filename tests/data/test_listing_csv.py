"""Pictures named by a csv: each problem is told with its line, and no row leaves the folder."""

import unicodedata

import pytest

from ptft.data.listing_csv import Columns, list_csv
from ptft.errors import ConfigError, DataError
from tests.data.files import picture, pictures

NFC, NFD = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))


@pytest.fixture
def root(tmp_path):
    return pictures(tmp_path / "photos", ["a.png", "b.png", "in/c d.png"])


def write(root, text, encoding="utf-8"):
    (root / "labels.csv").write_bytes(text.encode(encoding))
    return root


def listed(root, text=None, columns=None, labels="auto", encoding="utf-8"):
    if text is not None:
        write(root, text, encoding)
    return list_csv(root, "labels.csv", Columns.of(columns), labels)


def test_rows_name_pictures_labels_and_further_columns(root):
    listing = listed(root, "path,label,place\nb.png,dog,Rome\n./in//c d.png,cat,\na.png,dog,Oslo\n")
    assert listing.paths == ("a.png", "b.png", "in/c d.png") and listing.classes == ("cat", "dog")
    assert listing.labels.tolist() == [1, 1, 0] and listing.splits is None
    assert listing.columns == {"place": ("Oslo", "Rome", "")}


@pytest.mark.parametrize(
    ("newline", "encoding"), [("\n", "utf-8"), ("\r\n", "utf-8-sig"), ("\r", "utf-8"), ("\r\n\r\n", "utf-8")]
)
def test_byte_order_marks_and_line_ends_of_every_system_are_read(root, newline, encoding):
    listing = listed(root, newline.join(["path,label", "a.png,é", '"b.png", ☃ ', ""]), encoding=encoding)
    assert listing.paths == ("a.png", "b.png") and listing.classes == ("é", "☃")


def test_columns_may_be_called_anything_and_give_the_split(root):
    text = "file,kind,part,n\na.png,x,train,1\nb.png,y, Training,2\nin/c d.png,x,Dev,3\n"
    listing = listed(root, text, {"path": "file", "label": "kind", "split": "part"})
    assert {name: rows.tolist() for name, rows in listing.splits.items()} == {"train": [0, 1], "val": [2]}
    assert list(listing.columns) == ["n"]


@pytest.mark.parametrize(("columns", "labels"), [({"label": None}, "auto"), ({}, False), ({"label": None}, False)])
def test_a_csv_may_give_no_labels(root, columns, labels):
    listing = listed(root, "path,label\na.png,\nb.png,x\n", columns, labels)
    assert listing.labels.tolist() == [-1, -1] and listing.classes == ()


def test_pictures_without_a_known_suffix_may_be_named(root):
    (root / "a.png").rename(root / "0a1b")
    assert listed(root, "path,label\n0a1b,x\nb.png,y\n").paths == ("0a1b", "b.png")


SIDE = {"split": "split"}


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", {}, r"labels\.csv is empty"),
        ("path,label\n", {}, "a header and no rows"),
        ("Path,label\na.png,x\n", {}, r"labels\.csv:1: there is no column `path`.*did you mean `Path`.*columns\.path="),
        ("path,kind\na.png,x\n", {}, r"no column `label` .*are `path`, `kind`.*data\.labels=false"),
        ("path,label\na.png,x\n", SIDE, "no column `split`"),
        ("path;label\na.png;x\n", {}, r"labels\.csv:1: the columns are separated by `;`"),
        ("path\tlabel\n", {}, "separated by tabs"),
        ("path,label,label\n", {}, "the column `label` stands there twice"),
        ("path,label,\n", {}, "a column has no name"),
        ("path,label\na.png,x,y\n", {}, r"labels\.csv:2: 3 fields, and the header names 2"),
        ("path,label\na.png,x\nb.png\n", {}, r"labels\.csv:3: 1 fields"),
        ('path,label\n"a.png,x\n', {}, r"labels\.csv:2: this is no csv"),
        ("path,label\na.png,x\n ,y\n", {}, r"labels\.csv:3: the column `path` is empty"),
        ("path,label\na.png,x\nb.png, \n", {}, r"labels\.csv:3: the column `label` is empty"),
        ('path,label,split\na.png,"x\ny",train\nb.png,x,\n', SIDE, r"labels\.csv:4: the column `split` is empty"),
        ("path,label,split\na.png,x,vall\n", SIDE, r"labels\.csv:2: the split `vall` is none of .*did you mean `val`"),
        ("path,label\na.png,x\nz.png,x\ny.png,x\n", {}, r"labels\.csv:3: there is no file `z\.png` .*\(2 such rows\)"),
        ("path,label\na.png,x\n./a.png,x\n", {}, r"labels\.csv:3: `a\.png` stands there already, in line 2"),
        ("path,label\nin,x\n", {}, "`in` is a folder"),
        ("path,label\na.png/b.png,x\n", {}, r"no file `a\.png/b\.png`"),
        ("path,label\nin\\c d.png,x\n", {}, r"write / in the place of"),
        ("path,label\n a.png,x\n", {}, "one without the spaces"),
        ("path,label\na.png,cat\nb.png,Cat\n", {}, r"`cat` \(labels\.csv:2\) and `Cat` \(labels\.csv:3\)"),
        ("path,label,split\na.png,x,train\nb.png,y,test\n", SIDE, r"class `y` of test \(labels\.csv:3\)"),
    ],
)
def test_a_wrong_csv_is_told_with_its_line(root, text, columns, message):
    with pytest.raises(DataError, match=message):
        listed(root, text, columns)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/etc/passwd", "is an absolute path"),
        ("C:\\a.png", "is an absolute path"),
        ("\\\\host\\a.png", "is an absolute path"),
        ("../secret.png", r"holds `\.\.`"),
        ("in/../../secret.png", r"holds `\.\.`"),
        ("file:///etc/passwd", "is an address"),
        ("file:/etc/passwd", "is an address"),
        ("https://host/a.png", "is an address"),
        ("a.png\0.png", "holds a zero byte|this is no csv"),
        ("link.png", "is a link that leads out"),
        ("out/secret.png", "is a link that leads out|leads out"),
        ("loop.png", "cannot be read"),
    ],
)
def test_rows_that_leave_the_folder_are_refused(root, path, message):
    picture(root.parent / "secret.png")
    (root / "link.png").symlink_to("../secret.png")
    (root / "out").symlink_to("..")
    (root / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match=r"labels\.csv:3: .*") as error:
        listed(root, f"path,label\na.png,x\n{path},y\n")
    assert error.match(message)


def test_other_encodings_are_named_with_the_line(root):
    with pytest.raises(DataError, match=r"labels\.csv:3: byte 0xe9 is not UTF-8.*iconv -f latin1"):
        listed(root, "path,label\na.png,x\nb.png,é\n", encoding="latin-1")
    with pytest.raises(DataError, match="written in UTF-16"):
        listed(root, "path,label\n", encoding="utf-16")


def test_a_name_that_is_there_in_other_code_points_is_told(root):
    picture(root / NFD)
    with pytest.raises(DataError, match=r"decomposed characters \(NFD\)"):
        listed(root, f"path,label\n{NFC},x\n")


@pytest.mark.parametrize(("name", "message"), [("../labels.csv", "lies outside"), ("none.csv", "no such file")])
def test_the_csv_lies_in_the_folder(root, name, message):
    (root.parent / "labels.csv").write_text("path,label\na.png,x\n")
    with pytest.raises(DataError, match=message):
        list_csv(root, name, Columns())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lable": "x"}, "takes path, label, split, found `lable`"),
        ({"path": None}, "data.columns.path takes the name"),
        ({"label": 3}, "data.columns.label takes the name"),
        ({"path": "x", "label": "x"}, "names one column twice: x, x"),
    ],
)
def test_wrong_column_settings_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        Columns.of(values)


def test_labels_that_are_asked_for_must_be_there(root):
    with pytest.raises(DataError, match=r"data\.columns\.label is null"):
        listed(root, "path,label\na.png,x\n", {"label": None}, True)
