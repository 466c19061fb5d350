"""A user's folder, from what lies in it to batches, and from the command line to a finished run."""

import csv
import os
import random
import subprocess
import sys

import pytest
import torch

from ptft.data.data_module import BatchPlan
from ptft.data.vision.image_folder import ImageFolder
from ptft.errors import ConfigError, DataError
from tests.data.files import SMALL, classes, picture, pictures
from tests.data.images import joined, take


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def folder(root, augmentations=(), spec=None, **settings):
    data = ImageFolder(augmentations, path=str(root), **{"size": 8, "num_workers": 0, **settings})
    data.setup(spec)
    return data


def members(data):
    """Return the paths in each split."""
    loaders = data.evaluation_loaders(BatchPlan(batch_size=7))
    paths = data._content.listing.paths
    return {name: [paths[row] for row in joined(list(loader))["index"].tolist()] for name, loader in loaders.items()}


# ---- What a model is given ------------------------------------------------------------------------------------------


def test_a_folder_becomes_normalised_batches(tmp_path):
    data = folder(classes(tmp_path, 20))
    assert (data.spec.shape, data.spec.classes) == ((3, 8, 8), ("cats", "dogs"))
    assert data.describe() == "image_folder: 32 train, 4 val, 4 test; 3x8x8, 2 classes"
    (batch,) = take(data.train_loader(BatchPlan(batch_size=5)), 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.spec.mean, data.spec.std))
    seen = (data.pictures(batch["index"]) / 255 - mean) / std
    assert torch.allclose(batch["image"], seen, atol=1e-5)
    assert batch["label"].tolist() == [int("dogs" in data._content.listing.paths[row]) for row in batch["index"]]


def test_the_first_pictures_of_a_split_are_not_of_the_first_class_alone(tmp_path):
    data = folder(classes(tmp_path, 40))
    for plan in (BatchPlan(batch_size=16), BatchPlan(batch_size=16, rank=1, world=2)):
        first = next(iter(data.evaluation_loaders(plan)["train"]))
        assert 4 <= int(first["label"].sum()) <= 12
        again = next(iter(data.evaluation_loaders(plan)["train"]))
        assert torch.equal(again["index"], first["index"])


def test_every_picture_that_can_be_read_comes_once_whatever_the_splits_and_the_labels_kept(tmp_path):
    root = classes(tmp_path, 10)
    (root / "cats/003.png").write_bytes(b"no picture")
    data = folder(root, on_bad_sample="skip", max_bad=0.1, label_fraction=0.2)
    found = joined(list(data.every_example(BatchPlan(batch_size=7))))
    assert sorted(found["index"].tolist()) == list(range(19))
    assert torch.bincount(found["label"]).tolist() == [9, 10]
    assert len(members(data)["train"]) == 3


@pytest.mark.parametrize(("channels", "mean"), [(3, (0.485, 0.456, 0.406)), (1, (0.449,))])
def test_pictures_are_normalised_as_pre_trained_weights_expect(tmp_path, channels, mean):
    data = folder(classes(tmp_path, 10), channels=channels)
    assert data.spec.mean == pytest.approx(mean) and data.spec.shape == (channels, 8, 8)


def test_a_cache_changes_neither_splits_nor_what_is_seen_by_much(tmp_path):
    root = classes(tmp_path / "photos", 10, suffix=".jpg")
    plain, cached = folder(root), folder(root, cache=9, cache_folder=str(tmp_path / "own"))
    assert plain.spec == cached.spec and members(plain) == members(cached)
    index = torch.arange(20)
    assert (plain.pictures(index).float() - cached.pictures(index).float()).abs().mean() < 2
    assert sorted(path.suffix for path in (tmp_path / "own").iterdir() if path.name[0] != ".") == [".bin"]


def test_statistics_can_be_those_of_the_training_split_alone(tmp_path):
    root = pictures(
        tmp_path, [f"{part}/{name}/{n}.png" for part in ("train", "val", "test") for name in "ab" for n in "12"]
    )
    data = folder(root, normalisation="train", label_fraction=0.5)
    train = data.pictures(
        torch.tensor([row for row, path in enumerate(data._content.listing.paths) if "train" in path])
    )
    assert data.spec.mean == pytest.approx((train / 255).mean((0, 2, 3)).tolist(), abs=1e-6)
    assert data.spec.std == pytest.approx((train / 255).std((0, 2, 3), correction=0).tolist(), abs=1e-6)
    picture(root / "val" / "a" / "1.png", 99)
    assert folder(root, normalisation="train").spec.mean == data.spec.mean


def test_a_model_is_only_used_on_data_prepared_alike(tmp_path):
    root = classes(tmp_path / "photos", 10)
    data = folder(root, normalisation="train")
    again = folder(root, spec=data.spec, normalisation="imagenet")
    assert again.spec == data.spec  # the statistics are the model's
    for settings, message in [
        ({"size": 9}, "shape"),
        ({"resize": 20}, "data.resize=9, now it is 20"),
        ({"background": "black"}, "data.background=white, now it is black"),
        ({"channels": 1}, "shape"),
    ]:
        with pytest.raises(DataError, match=message):
            folder(root, spec=data.spec, **settings)
    with pytest.raises(DataError, match="class"):
        folder(classes(tmp_path / "other", 10, names=("cats", "foxes")), spec=data.spec)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 64, "resize": 32}, r"data\.resize=32 .* give at least 64"),
        ({"size": 64, "cache": 64}, r"data\.cache=64 keeps less than the short side of 73"),
        ({"label_fraction": 0}, "label_fraction"),
        ({"split": {"vall": 1}}, "did you mean `val`"),
        ({"columns": {"label": "kind"}}, r"none is given: data\.csv"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ImageFolder((), path="photos", **settings)


# ---- Division -------------------------------------------------------------------------------------------------------


def test_the_split_is_the_same_however_the_disk_lists_and_whatever_the_hash_seed(tmp_path, monkeypatch):
    root = classes(tmp_path / "photos", 15)
    expected = members(folder(root))
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = list(entries)
            random.Random(str(path)).shuffle(self.entries)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *exception):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", Shuffled)
        shuffled = folder(root)
    assert members(shuffled) == expected and shuffled.spec == folder(root).spec
    code = (
        "import sys; from ptft.data.vision.image_folder import ImageFolder\n"
        "data = ImageFolder((), path=sys.argv[1]); data.setup(); print(data.spec.fingerprint)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    told = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, env=environment)
    assert told.stdout.strip() == folder(root).spec.fingerprint, told.stderr


@pytest.mark.parametrize("by", ["column", "pattern"])
def test_groups_stay_in_one_split(tmp_path, by):
    root = classes(tmp_path, 40)
    rows = [
        {"path": f"{name}/{n:03}.png", "label": name, "person": f"{name}{n // 4}"}
        for name in ("cats", "dogs")
        for n in range(40)
    ]
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "person"])
        writer.writeheader()
        writer.writerows(rows)
    group = {"group": "person"} if by == "column" else {"group": r"\w+/\d\d"}
    data = folder(root, csv="labels.csv", split=group)
    names = data.attributes()["group"]
    number = dict(zip(data._content.listing.paths, names, strict=True))
    held = [{number[path] for path in paths} for paths in members(data).values()]
    assert all(held) and not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]


def test_attributes_are_columns_and_folders(tmp_path):
    root = pictures(tmp_path, [f"{place}/{n}.png" for place in ("rome", "oslo/old") for n in range(10)])
    lines = [f"{place}/{n}.png,{n % 2},{n}" for place in ("rome", "oslo/old") for n in range(10)]
    (root / "labels.csv").write_text("\n".join(["path,label,hour", *lines]))
    attributes = folder(root, csv="labels.csv").attributes()
    assert attributes["hour"] == tuple(str(n) for n in [*range(10), *range(10)])
    assert attributes["folder"] == ("oslo/old",) * 10 + ("rome",) * 10
    assert list(attributes) == ["folder", "hour"]


def test_exact_copies_stay_in_one_split_and_are_told(tmp_path):
    root = classes(tmp_path, 30)
    for number in range(30):
        (root / "cats" / f"copy{number}.png").write_bytes((root / "cats" / f"{number:03}.png").read_bytes())
    data = folder(root)
    content = {path: (root / path).read_bytes() for path in data._content.listing.paths}
    held = [{content[path] for path in paths} for paths in members(data).values()]
    assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]
    (warning,) = data.warnings()
    assert warning.startswith("30 pictures are exact copies of others: `cats/000.png` = `cats/copy0.png`")


def test_copies_across_splits_that_are_given_are_told_or_refused(tmp_path):
    for part in ("train", "test"):
        classes(tmp_path / part, 3)  # the same pictures
    (tmp_path / "test" / "cats" / "dog.png").write_bytes((tmp_path / "train" / "dogs" / "000.png").read_bytes())
    told = "\n".join(folder(tmp_path, split={"val": 0.34}).warnings())
    assert "lie in both train and test as exact copies" in told and "metrics on test are too good" in told
    assert "\n1 picture has several labels, as exact copies: `test/cats/dog.png` = `t" in told
    with pytest.raises(DataError, match=r"exact copies.*data\.fail_on_overlap=false"):
        folder(tmp_path, split={"val": 0.34}, fail_on_overlap=True)


def test_any_change_of_the_data_is_seen(tmp_path):
    root = classes(tmp_path, 10)
    found = {folder(root).spec.fingerprint, folder(root, split={"seed": 1}).spec.fingerprint}
    assert folder(root).spec.fingerprint in found
    found.add(folder(root, label_fraction=0.5).spec.fingerprint)
    (root / "cats" / "000.png").rename(root / "cats" / "zzz.png")
    found.add(folder(root).spec.fingerprint)
    with (root / "cats" / "001.png").open("ab") as file:
        file.write(b"\0")
    found.add(folder(root).spec.fingerprint)
    (root / "cats" / "zzz.png").rename(root / "dogs" / "zzz.png")
    found.add(folder(root).spec.fingerprint)
    assert len(found) == 6


# ---- What is wrong with a folder ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (
            lambda root: classes(root, 10, names=("cats",)),
            {},
            "all 10 pictures .* are of the class `cats`; give at least",
        ),
        (lambda root: classes(root, 1), {}, r"data\.split\.test takes 0 of 2"),
        (lambda root: classes(root, 10), {"split": {"group": "nothing"}}, "matches none of the 20 names"),
        (lambda root: root / "none", {}, "there is no such folder"),
        (lambda root: classes(root, 10), {"csv": "labels.csv"}, "no such file"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_told(tmp_path, make, settings, message):
    with pytest.raises((DataError, ConfigError), match=message):
        folder(make(tmp_path / "photos"), **settings)


def test_a_csv_without_training_rows_is_told(tmp_path):
    (pictures(tmp_path, ["a.png", "b.png"]) / "labels.csv").write_text("path,label,split\na.png,,val\nb.png,,test\n")
    with pytest.raises(DataError, match="no picture belongs to train; there are `val`, `test`"):
        folder(tmp_path, csv="labels.csv", columns={"split": "split", "label": None})


def test_unlabelled_pictures_are_enough_to_pre_train(tmp_path):
    data = folder(pictures(tmp_path, [f"{year}/{n}.png" for year in (2023, 2024) for n in range(10)]), labels=False)
    assert data.spec.classes == () and data.describe().endswith("3x8x8, no labels")
    (batch,) = take(data.train_loader(BatchPlan(batch_size=4)), 1)
    assert batch["label"].tolist() == [-1] * 4


def test_a_csv_with_groups_is_set_from_the_command_line(tmp_path, ptft):
    classes(tmp_path / "photos", 12)
    rows = [f"{name}/{n:03}.png,{name},{n // 2}" for name in ("cats", "dogs") for n in range(12)]
    (tmp_path / "photos" / "all.csv").write_text("\n".join(["file,kind,day", *rows]))
    table = ("data.csv=all.csv", "data.columns.path=file", "data.columns.label=kind", "data.split.group=day")
    ptft("finetune", *SMALL, *table, name="a")
    assert not (tmp_path / "outputs" / "a" / "bad_samples.jsonl").exists()
    with pytest.raises(ConfigError, match=r"data\.columns\.lable|lable"):
        ptft("finetune", *SMALL, "+data.columns.lable=kind", name="b")
    with pytest.raises(ConfigError, match=r"labels"):
        ptft("finetune", *SMALL, "data.labels=maybe", name="b")
