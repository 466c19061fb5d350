"""Classifiers of transformers: built from a folder, loaded whole, handed back to the library."""

import json
from pathlib import Path

import pytest
import torch

from ptft.adapt.load import load_weights
from ptft.data.data_module import DataSpec
from ptft.errors import CheckpointError, ConfigError
from ptft.model.parts import belongs, parts_of
from ptft.model.vision.transformers import TransformersClassifier
from tests.tiny_models import FAMILIES, transformers_folder


def spec_of(side=32, channels=3, num_classes=7):
    return DataSpec(kind="image", shape=(channels, side, side), classes=tuple(f"c{n}" for n in range(num_classes)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_loaded_told_and_handed_back(tmp_path, family):
    from transformers import AutoModelForImageClassification

    folder = transformers_folder(tmp_path / "given", family)
    network = TransformersClassifier(spec_of(), name=str(folder)).eval()
    assert network.pretrained == folder
    report = load_weights(network, network.read_pretrained(folder), classes_match=True)
    assert report.complete and report.head == "head taken" and not report.changes
    parts = parts_of(network)
    prefixes = [*parts.stem, *(prefix for block in parts.blocks for prefix in block), parts.head]
    assert all(sum(belongs(name, prefix) for prefix in prefixes) == 1 for name in network.state_dict())
    assert len(parts.blocks) == sum(FAMILIES[family].get("depths", [2]))
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = AutoModelForImageClassification.from_pretrained(str(folder)).eval()(image).logits
        torch.testing.assert_close(network(image), expected)
        for parameter in network.parameters():
            parameter.add_(0.01)
        network.write_pretrained(tmp_path / "made", tuple(f"c{n}" for n in range(7)))
        again = AutoModelForImageClassification.from_pretrained(str(tmp_path / "made")).eval()
        torch.testing.assert_close(again(image).logits, network(image))
    assert again.config.id2label[3] == "c3"


@pytest.mark.parametrize("family", ["ViT", "DeiT"])
def test_other_channels_sides_and_classes_are_fitted(tmp_path, family):
    folder = transformers_folder(tmp_path, family)
    network = TransformersClassifier(spec_of(side=16, channels=1, num_classes=3), name=str(folder))
    report = load_weights(network, network.read_pretrained(folder))
    assert report.complete
    assert "position_embeddings resized" in report.describe() and "3 -> 1 channels" in report.describe()
    assert network(torch.rand(2, 1, 16, 16)).shape == (2, 3)


def test_without_pretrained_the_config_alone_is_enough(tmp_path):
    (transformers_folder(tmp_path) / "model.safetensors").unlink()
    network = TransformersClassifier(spec_of(), name=str(tmp_path), pretrained=False)
    assert network.pretrained is None
    with pytest.raises(CheckpointError, match="reads no ViTForImageClassification there"):
        network.read_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, r"there is no .*config\.json"),
        ({"model_type": "bert"}, "`bert` is no image classifier"),
        ({"model_type": "nothing"}, "cannot read"),
        ({"model_type": "siglip"}, "takes three channels, the data have 1"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}, "cannot read"),
    ],
)
def test_what_is_no_classifier_for_these_data_is_refused_and_no_code_is_run(tmp_path, config, words):
    marker = tmp_path / "marker"
    (tmp_path / "mine.py").write_text(f"open({str(marker)!r}, 'w')")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=words):
        TransformersClassifier(spec_of(channels=1), name=str(tmp_path))
    assert not marker.exists()


def test_too_small_pictures_are_refused(tmp_path):
    folder = transformers_folder(tmp_path, "ConvNext")
    with pytest.raises(ConfigError, match="does not take pictures of 3x3"):
        TransformersClassifier(spec_of(side=3), name=str(folder))


def test_a_run_is_what_the_library_reads(ptft, tmp_path):
    from transformers import AutoModelForImageClassification

    folder = transformers_folder(tmp_path / "given")
    short = ("engine.max=2st", "engine.batch_size=8", "engine.evaluation_batches=1", "engine.precision=fp32")
    ptft("finetune", "model=vision/transformers", f"model.name={folder}", *short, "name=run")
    _, found = AutoModelForImageClassification.from_pretrained("outputs/run/model", output_loading_info=True)
    assert not any(found.values())
    ptft("evaluate", "run=run", "name=measured")
    first, second = (json.loads(Path("outputs", n, "summary.json").read_text())["metrics"] for n in ("run", "measured"))
    assert first["test/accuracy"]["value"] == second["test/accuracy"]["value"]
    ptft("finetune", "model=vision/transformers", f"model.name={folder}", "init_from=run", *short, "name=further")
    assert "head taken" in Path("outputs/further/log.txt").read_text()
