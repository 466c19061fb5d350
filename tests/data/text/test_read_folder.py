"""Texts in folders: what the folders mean, and what is refused."""

import pytest

from ptft.data.text.bad_rows import BadRows
from ptft.data.text.folder import TextFolder
from ptft.data.text.read_folder import read_folder
from ptft.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path):
    def make(*names, content="text of {}"):
        for name in names:
            path = tmp_path / "texts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content.format(name), encoding="utf-8")
        return tmp_path / "texts"

    return make


def read(root, pattern="*.txt", bad=None, **settings):
    return read_folder(root, pattern, bad or BadRows(), **settings)


def test_folders_are_classes_and_files_stand_in_the_order_of_their_names(root):
    rows = read(root("b/2.txt", "a/1.txt", "a/deep/3.txt", "a/.hidden.txt", ".git/4.txt", "a/picture.png"))
    assert rows.labels == ["a", "a", "b"]
    assert rows.texts == ["text of a/1.txt", "text of a/deep/3.txt", "text of b/2.txt"]
    assert rows.columns["folder"] == ["a", "a/deep", "b"]
    assert rows.place(0) == rows.where(0) == "a/1.txt" and rows.splits is None


def test_folders_called_train_and_test_are_splits(root):
    rows = read(root("train/a/1.txt", "train/b/2.txt", "Test/a/3.txt"))
    assert (rows.labels, rows.splits) == (["a", "a", "b"], ["test", "train", "train"])
    rows = read(root("train/a/1.txt", "bus/2.txt"))  # beside others, a train is a class
    assert set(rows.labels) == {"train", "Test", "bus"} and rows.splits is None


def test_two_folders_of_one_split_and_splits_without_train_are_refused(root):
    with pytest.raises(DataError, match="`test`, `val` but no `train`"):
        read(root("test/a/1.txt", "val/a/1.txt"))
    with pytest.raises(DataError, match="two of which mean the same split"):
        read(root("train/a/1.txt", "dev/a/1.txt"))


def test_files_without_a_class_are_read_where_none_is_needed(root):
    folder = root("1.txt", "a/2.txt")
    with pytest.raises(DataError, match=r"`1\.txt` in .* lies in no class folder .*data\.target=tokens"):
        read(folder)
    assert read(folder, labelled=False).labels is None
    (folder / "1.txt").unlink()
    assert read(folder, labelled=False).labels == ["a"]


def test_a_file_of_another_encoding_is_named_with_its_line(root):
    folder = root("a/1.txt", "b/2.txt")
    (folder / "a/1.txt").write_bytes("one\ncafé".encode("latin-1"))
    with pytest.raises(DataError, match=r"^a/1\.txt: byte 0xe9 in line 2 is not of the encoding"):
        read(folder)
    assert read(folder, decode=lambda data: data.decode("latin-1")).texts[0] == "one\ncafé"
    bad = BadRows("skip", 1.0)
    assert read(folder, bad=bad).labels == ["b"]
    assert bad.rows[0]["file"] == "a/1.txt"


def test_what_is_too_long_for_an_example_is_told(root, monkeypatch):
    monkeypatch.setattr("ptft.data.text.read_folder._BYTES", 20)
    with pytest.raises(DataError, match=r"^a/1\.txt: more than 20 bytes; a file is one example"):
        read(root("a/1.txt", content="x" * 30))


def test_a_pattern_chooses_the_files_and_none_are_told(root):
    folder = root("a/1.md", "b/2.md")
    with pytest.raises(DataError, match=r"holds no file called \*\.txt; it holds files ending in `\.md`.*data\.files"):
        read(folder)
    assert len(read(folder, "*.md")) == 2


def test_a_link_that_leads_out_is_refused(root, tmp_path):
    folder = root("a/1.txt", "b/2.txt")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "a/3.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DataError, match=r"`a/3\.txt` in .* is a link that leads out of data\.path"):
        read(folder)
    (folder / "a/3.txt").unlink()
    (folder / "c").symlink_to(folder / "b")
    with pytest.raises(DataError, match=r"`c` in .* is a link to a folder"):
        read(folder)


def test_a_folder_is_set_up_whole(root):
    folder = root(*(f"{name}/{number}.txt" for name in ("good", "bad") for number in range(20)))
    data = TextFolder((), path=str(folder), tokenizer={"vocab_size": 60}, max_length=16)
    data.setup()
    assert data.spec.classes == ("bad", "good")
    assert data.paths()[0] == "bad/0.txt" and data.attributes()["folder"][0] == "bad"
    with pytest.raises(ConfigError, match=r"data\.files takes a pattern"):
        TextFolder((), files="a/*.txt")
    with pytest.raises(DataError, match=r"data\.path is not given"):
        TextFolder(()).setup()
    (folder.parent / "rows.csv").write_text("text,label\n")
    with pytest.raises(DataError, match=r"rows\.csv is a table, and a folder is expected; take data=text/table"):
        TextFolder((), path=str(folder.parent / "rows.csv")).setup()
