"""Pictures found in folders: what counts, what is passed over, what is refused."""

import os
import unicodedata
from pathlib import Path

import pytest

from ptft.data.listing_folder import checked_root, list_folder
from ptft.errors import DataError
from tests.data.files import classes, picture, pictures

COMPOSED, APART = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))


def names(listing):
    labels = [listing.classes[label] if label >= 0 else None for label in listing.labels]
    return dict(zip(listing.paths, labels, strict=True))


# ---- What is found --------------------------------------------------------------------------------------------------


def test_folders_are_classes_and_what_lies_deeper_belongs_to_them(tmp_path):
    pictures(tmp_path, ["dogs/a.png", "cats/b.JPG", "cats/old/2019/c.png"])
    listing = list_folder(tmp_path)
    assert names(listing) == {"cats/b.JPG": "cats", "cats/old/2019/c.png": "cats", "dogs/a.png": "dogs"}
    assert listing.splits is None and listing.notes == ()


def test_strange_names_are_names(tmp_path):
    strange = ["a b.png", "a\nb.png", "-rf.png", "ü ☃.png", "x" * 251 + ".png", "'\"$(x).png"]
    pictures(tmp_path, [f"{folder}/{name}" for folder in ("-n", "日本") for name in strange])
    assert sorted(path.split("/")[1] for path in list_folder(tmp_path).paths) == sorted(2 * strange)


def test_hidden_files_and_what_is_no_picture_are_passed_over_and_unknown_kinds_told(tmp_path):
    classes(tmp_path, 2)
    for name in ("cats/.DS_Store", "cats/Thumbs.db", "cats/readme.TXT", "cats/Makefile", "labels.csv"):
        (tmp_path / name).write_text("x")
    for name in ("cats/a.heic", "cats/b.HEIC", "dogs/c.mp4"):
        (tmp_path / name).write_text("x")
    pictures(tmp_path, ["cats/.hidden.png", ".git/x.png", "__MACOSX/cats/x.png"])
    listing = list_folder(tmp_path)
    assert len(listing) == 4
    assert listing.notes == ("passed over 3 files that are no pictures ptft reads: 2 `.heic`, 1 `.mp4`",)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val"])
def test_split_folders_give_the_splits(tmp_path, val):
    for part in ("train", val, "test"):
        classes(tmp_path / part, 2)
    listing = list_folder(tmp_path)
    assert listing.classes == ("cats", "dogs")
    for name, folder in (("train", "train"), ("val", val), ("test", "test")):
        assert {listing.paths[row].split("/")[0] for row in listing.splits[name]} == {folder}


def test_a_split_may_be_missing_or_lack_classes(tmp_path):
    classes(tmp_path / "train", 2)
    classes(tmp_path / "test", 2, names=("cats",))
    (tmp_path / "test" / "dogs").mkdir()
    assert sorted(list_folder(tmp_path).splits) == ["test", "train"]


def test_a_class_may_be_called_train(tmp_path):
    listing = list_folder(classes(tmp_path, 2, names=("car", "train", "bus")))
    assert listing.classes == ("bus", "car", "train") and listing.splits is None


@pytest.mark.parametrize("labels", ["auto", False])
def test_pictures_in_the_folder_itself_have_no_labels(tmp_path, labels):
    listing = list_folder(pictures(tmp_path, ["b.png", "a.png"]), labels)
    assert names(listing) == {"a.png": None, "b.png": None} and listing.classes == ()


def test_without_labels_folders_mean_nothing(tmp_path):
    listing = list_folder(pictures(tmp_path, ["b.png", "2019/a.png", "2019/x/c.png", "train/d.png"]), False)
    assert set(names(listing).values()) == {None} and len(listing) == 4 and listing.splits is None


def test_without_labels_split_folders_still_keep_the_test_pictures_apart(tmp_path):
    listing = list_folder(pictures(tmp_path, ["train/a.png", "train/x/b.png", "test/c.png"]), False)
    assert {name: [listing.paths[row] for row in rows] for name, rows in listing.splits.items()} == {
        "train": ["train/a.png", "train/x/b.png"],
        "test": ["test/c.png"],
    }


# ---- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "labels", "message"),
    [
        ([], "auto", "holds no pictures"),
        (["a.png", "cats/b.png"], "auto", r"`a\.png` in .* lies in no class folder \(1 such pictures\).*data\.labels"),
        (["a.png"], True, "lies in no class folder"),
        (["train/a.png", "test/b.png"], "auto", r"`test/b\.png` in .* lies in no class folder"),
        (["train/a/b.png", "val/c.png"], "auto", r"`val/c\.png` in .* lies in no class folder"),
        (["train/a/b.png", "val/a/c.png", "junk/d.png"], "auto", "and also `junk`: are these splits or classes"),
        (["val/a/b.png", "test/a/c.png"], "auto", r"holds `test`, `val` but no `train`.*as data\.path=\S+/test,"),
        (["train/a/b.png", "val/a/c.png", "dev/a/d.png"], "auto", "`val`, `dev`|`dev`, `val`"),
        (["train/a/b.png", "val/c/d.png"], "auto", "the class `c` of val .* has no example in train"),
        (["Cat/a.png", "cat/b.png"], "auto", "`Cat` .* and `cat` .* only in upper and lower case"),
        ([f"{COMPOSED}/a.png", f"{APART}/b.png"], "auto", "only in how Unicode writes them"),
        (["train/Cat/a.png", "val/cat/b.png"], "auto", "only in upper and lower case"),
    ],
)
def test_folders_that_could_mean_anything_are_refused(tmp_path, files, labels, message):
    with pytest.raises(DataError, match=message):
        list_folder(pictures(tmp_path, files), labels)


def test_a_csv_beside_a_single_folder_is_named_as_what_may_hold_the_labels(tmp_path):
    pictures(tmp_path, ["images/a.png", "images/b.png"])
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"all 2 pictures in .* lie in the folder `images`.*give data\.csv=labels\.csv"):
        list_folder(tmp_path)
    assert list_folder(tmp_path, labels=False).classes == ()


@pytest.mark.parametrize("base", [".", "train"])
def test_a_class_without_a_picture_is_refused_and_what_it_holds_told(tmp_path, base):
    classes(tmp_path / base, 2)
    (tmp_path / base / "birds").mkdir()
    (tmp_path / base / "birds" / "a.heic").write_text("x")
    with pytest.raises(
        DataError, match=r"the class folder `birds` in .* holds no pictures \(but other files: 1 `.heic`"
    ):
        list_folder(tmp_path)


@pytest.mark.parametrize("as_file", [True, False])
def test_links_that_leave_the_folder_are_refused(tmp_path, as_file):
    secret = picture(tmp_path / "secret" / "key.png")
    root = classes(tmp_path / "photos", 2)
    target = secret if as_file else secret.parent
    (root / "cats" / "link.png").symlink_to(target)
    with pytest.raises(DataError, match=r"the link `cats/link\.png` in .* leads out of data\.path, to .*secret"):
        list_folder(root)


def test_links_within_the_folder_are_followed(tmp_path):
    classes(tmp_path, 2)
    (tmp_path / "cats" / "same.png").symlink_to("../dogs/000.png")
    (tmp_path / "more").symlink_to("dogs")
    assert names(list_folder(tmp_path))["cats/same.png"] == "cats" and len(list_folder(tmp_path)) == 7


def test_the_folder_itself_may_be_a_link(tmp_path):
    classes(tmp_path / "photos", 2)
    (tmp_path / "link").symlink_to("photos")
    assert checked_root(str(tmp_path / "link")) == (tmp_path / "photos").resolve()


@pytest.mark.parametrize("target", ["..", ".", "loop", "nothing.png"])
def test_links_that_lead_round_or_nowhere_are_refused(tmp_path, target):
    classes(tmp_path, 2)
    (tmp_path / "cats" / ("loop" if target in ("..", ".") else "loop.png")).symlink_to(
        "loop.png" if target == "loop" else target
    )
    with pytest.raises(DataError, match=r"leads back to a folder it lies in|leads nowhere"):
        list_folder(tmp_path)


def test_what_is_no_ordinary_file_is_refused_rather_than_waited_for(tmp_path):
    classes(tmp_path, 2)
    os.mkfifo(tmp_path / "cats" / "pipe.png")
    with pytest.raises(DataError, match=r"`cats/pipe\.png` .* is no file"):
        list_folder(tmp_path)


def test_names_that_are_no_text_are_refused(tmp_path):
    classes(tmp_path, 2)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/cats/\xff.png")).touch()
    with pytest.raises(DataError, match=r"'\\udcff\.png' .* is not valid UTF-8"):
        list_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    classes(tmp_path, 2)
    (tmp_path / "cats").chmod(0)
    with pytest.raises(DataError, match=r"cats cannot be read: Permission denied"):
        list_folder(tmp_path)


def test_a_missing_folder_is_told(tmp_path):
    for path, message in [
        (None, "data.path is not given"),
        ("", "data.path is not given"),
        (tmp_path / "none", "there is no such folder"),
        (picture(tmp_path / "a.png"), "must be a folder, and this is a file"),
        (tmp_path / "loop", "cannot be read"),
    ]:
        (tmp_path / "loop").is_symlink() or (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(DataError, match=message):
            checked_root(path and str(path))
    (tmp_path / "labels.csv").write_text("x")
    with pytest.raises(DataError, match=r"give its folder, and data\.csv=labels\.csv"):
        checked_root(str(tmp_path / "labels.csv"))
