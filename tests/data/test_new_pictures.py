"""Pictures that the data do not hold, as a model is asked about them: in the shape and statistics of its run."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from ptft.data.data_module import DataSpec
from ptft.data.new_pictures import frames_of
from ptft.data.vision.digits import Digits
from ptft.data.vision.image_folder import ImageFolder
from ptft.errors import DataError, RowError

GREY = DataSpec(kind="image", shape=(1, 8, 8), classes=("a", "b"), mean=(0.5,), std=(0.25,))
PHOTO = dataclasses.replace(
    GREY, shape=(3, 8, 8), mean=(0.5,) * 3, std=(0.25,) * 3, preprocessing={"resize": 10, "background": "black"}
)


def saved(path, *shape):
    pixels = np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return {"file": str(path)}


def test_a_picture_of_the_right_size_comes_through_as_it_is(tmp_path):
    row = saved(tmp_path / "a.png", 8, 8)
    data = Digits([])
    data.restore(GREY)
    assert data.fields == ("file",) and data.spec is GREY
    batch = data.batch_of([row, row], torch.device("cpu"))
    pixels = torch.from_numpy(np.asarray(Image.open(row["file"])).copy()).float() / 255
    assert torch.equal(batch["index"], torch.arange(2)) and batch["image"].shape == (2, 1, 8, 8)
    assert torch.allclose(batch["image"][1, 0], (pixels - 0.5) / 0.25, atol=1e-6)


def test_a_picture_of_any_size_and_colour_takes_the_shape_of_the_data(tmp_path):
    rows = [saved(tmp_path / "a.png", 30, 20, 3), saved(tmp_path / "b.png", 5, 9, 4), saved(tmp_path / "c.jpg", 40, 64)]
    paths = [row["file"] for row in rows]
    assert frames_of(paths, GREY).shape == (3, 1, 8, 8)
    assert frames_of(paths, dataclasses.replace(PHOTO, shape=(3, 6, 12), preprocessing={})).shape == (3, 3, 6, 12)


def test_a_photo_is_prepared_as_the_data_of_its_run_were_evaluated(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(4):
            saved(tmp_path / "in" / name / f"{number}.png", 12 + number, 20, 3)
    data = ImageFolder([], path=str(tmp_path / "in"), size=8, resize=10, background="black")
    data.setup()
    new = ImageFolder([], size=8, resize=10, background="black")
    new.restore(data.spec)
    rows = [{"file": str(tmp_path / "in" / path)} for path in data.paths()]
    batch = new.batch_of(rows, torch.device("cpu"))
    assert torch.equal(frames_of([row["file"] for row in rows], data.spec), data.pictures(torch.arange(8)))
    assert batch["image"].shape == (8, 3, 8, 8)


def test_a_picture_that_cannot_be_read_is_named_with_its_place(tmp_path):
    good = saved(tmp_path / "a.png", 8, 8)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for bad in ("bad.png", "none.png"):
        with pytest.raises(RowError, match=bad) as error:
            frames_of([good["file"], str(tmp_path / bad), good["file"]], GREY)
        assert error.value.row == 1


def test_pictures_are_not_read_for_a_run_on_texts():
    with pytest.raises(DataError, match="the run reads text"):
        Digits([]).restore(DataSpec(kind="text", shape=(8,)))
