"""What weights were trained on is found beside them, and a difference is told in one line."""

import json

import pytest

from ptft.command.preprocessing import Trained, trained_on, unlike
from ptft.data.data_module import DataSpec

SQUARE = {"height": 224, "width": 224}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def spec(side=224, channels=3, **statistics):
    return DataSpec(kind="image", shape=(channels, side, side), **{**IMAGENET, **statistics})


def test_a_file_of_torchvision_is_known_by_its_name(tmp_path):
    file = tmp_path / "mobilenet_v2-b0353104.pth"
    file.write_bytes(b"")
    assert trained_on(file) == Trained((224, 224), **IMAGENET)
    assert unlike(file, spec()) is None
    assert unlike(file, spec(1, mean=(0.45,), std=(0.226,), channels=1)).count("\n") == 0
    assert "mean" not in unlike(file, spec(64, mean=(0.45,), std=(0.226,), channels=1))
    text = unlike(file, spec(64, mean=(0.5, 0.5, 0.5)))
    assert "trained on pictures of 224x224 pixels, mean 0.485 0.456 0.406" in text
    assert "the data are 64x64, mean 0.500 0.500 0.500" in text


def test_a_run_tells_it_in_its_own_file(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "preprocessing.json").write_text(json.dumps(spec(28, 1, mean=(0.28,), std=(0.35,)).to_json()))
    assert trained_on(tmp_path) == trained_on(tmp_path / "model") == Trained((28, 28), (0.28,), (0.35,))
    assert unlike(tmp_path, spec(28, 1, mean=(0.281,), std=(0.352,))) is None


@pytest.mark.parametrize(
    ("config", "side"),
    [
        ({"size": SQUARE}, (224, 224)),
        ({"size": 384}, (384, 384)),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": SQUARE},
            (224, 224),
        ),
        ({"size": {"shortest_edge": 256}}, None),
        ({"size": "large"}, None),
    ],
)
def test_a_processor_of_transformers_is_read(tmp_path, config, side):
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({**config, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    assert trained_on(tmp_path) == Trained(side, (0.5,) * 3, (0.5,) * 3)


def test_where_nothing_is_known_nothing_is_said(tmp_path):
    assert trained_on(tmp_path) is None and unlike(tmp_path, spec()) is None
