"""A folder of pictures of every kind, broken ones too: what is left out, what is named, what is never read."""

import builtins
import csv
import io
import json
import os
from pathlib import Path

import pytest

from ptft.data.data_module import BatchPlan
from ptft.data.vision.image_folder import ImageFolder
from ptft.errors import DataError
from tests.data.files import SMALL, classes, picture
from tests.data.images import joined, take
from tests.data.messy import BAD, messy


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


def test_a_messy_folder_is_used_without_its_bad_pictures(tmp_path):
    data = folder(messy(tmp_path / "photos"), on_bad_sample="skip", max_bad=0.1)
    assert {row["path"] for row in data.rejected()} == set(BAD)
    assert all(BAD[row["path"]] in row["reason"] for row in data.rejected())
    assert data.describe().endswith("4 left out") and "left out 4 pictures" in data.warnings()[0]
    used = [path for paths in members(data).values() for path in paths]
    assert len(used) == len(set(used)) == 2 * 20 + 8
    (batch,) = take(data.train_loader(BatchPlan(batch_size=48)), 1)
    assert batch["image"].isfinite().all()


def test_the_first_bad_picture_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cats/bomb\.png.*\(2 more like it\).*data\.on_bad_sample=skip"):
        folder(messy(tmp_path / "photos"))


def test_a_picture_that_breaks_later_is_counted_with_the_others(tmp_path):
    root = classes(tmp_path / "photos", 20)
    (root / "cats" / "bad.png").write_bytes(b"")
    data = folder(root, on_bad_sample="skip", max_bad=0.05)
    (root / data._content.listing.paths[data._rows["train"][0]]).unlink()
    take(data.train_loader(BatchPlan(batch_size=32)), 1)
    assert [row["path"] for row in data.rejected()] == [
        "cats/bad.png",
        data._content.listing.paths[data._rows["train"][0]],
    ]
    (root / data._content.listing.paths[data._rows["train"][1]]).unlink()
    with pytest.raises(DataError, match="max_bad"):
        take(data.train_loader(BatchPlan(batch_size=32)), 1)


def test_nothing_outside_the_folder_is_read(tmp_path, monkeypatch):
    root = messy(tmp_path / "photos", 12)
    opened = []

    def watched(opener):
        def wrapped(file, *arguments, **settings):
            opened.append(file)
            return opener(file, *arguments, **settings)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", watched(open))
        patch.setattr(io, "open", watched(io.open))
        data = folder(root, on_bad_sample="skip", max_bad=0.2)
        take(data.train_loader(BatchPlan(batch_size=20)), 1)
    files = {Path(os.fsdecode(file)).resolve() for file in opened if not isinstance(file, int)}
    # Besides, Python reads its own modules and ptft its cache.
    strange = [file for file in files if tmp_path in file.parents and not {root, tmp_path / "cache"} & {*file.parents}]
    assert strange == [] and sum(root in file.parents for file in files) == 36
    picture(tmp_path / "secret.png")
    (root / "cats" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"leads out of data\.path"):
        folder(root, on_bad_sample="skip", max_bad=0.2)


def test_a_messy_folder_trains_and_lists_what_it_left_out(tmp_path, ptft):
    messy(tmp_path / "photos")
    with pytest.raises(DataError, match=r"cats/bomb\.png"):
        ptft("finetune", *SMALL, name="a")
    assert not (tmp_path / "outputs" / "a").exists()
    ptft("finetune", *SMALL, "data.on_bad_sample=skip", "data.max_bad=0.1", name="a")
    lines = (tmp_path / "outputs" / "a" / "bad_samples.jsonl").read_text().splitlines()
    assert {json.loads(line)["path"] for line in lines} == set(BAD)
    ptft("evaluate", run="a", name="all", split="all")
    predictions = {name: tmp_path / "outputs" / name / "predictions.csv" for name in ("a", "all")}
    rows = {name: list(csv.DictReader(io.StringIO(file.read_text()))) for name, file in predictions.items()}
    assert 0 < len(rows["a"]) < len(rows["all"])
    for row in rows["a"] + rows["all"]:  # which file was judged how
        path = row["path"].removeprefix("'")
        assert path.split("/")[0] == row["label"] and (tmp_path / "photos" / path).is_file()
