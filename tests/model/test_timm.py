"""Classifiers of timm: their parts by timm's groups, weights of other sizes, and what is refused."""

import builtins

import pytest
import torch

from ptft.adapt.load import load_weights
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.parts import belongs, parts_of
from ptft.model.vision.timm import timm_classifier


def spec_of(side=64, channels=1, num_classes=3):
    return DataSpec(kind="image", shape=(channels, side, side), classes=tuple(map(str, range(num_classes))))


@pytest.mark.parametrize(
    ("architecture", "blocks"),
    [("resnet18", 8), ("convnext_atto", 12), ("mobilenetv3_small_050", 12), ("test_vit", 6)],
)
def test_weights_fit_and_parts_cover_everything_once(architecture, blocks):
    timm = pytest.importorskip("timm", reason="timm is an extra")
    network = timm_classifier(spec_of(), architecture=architecture)
    report = load_weights(network, timm.create_model(architecture, num_classes=7).state_dict())
    assert report.complete and report.describe().endswith("head re-initialised, 7 -> 3 classes")
    parts = parts_of(network)
    prefixes = [*parts.stem, *(prefix for block in parts.blocks for prefix in block), parts.head]
    assert all(sum(belongs(name, prefix) for prefix in prefixes) == 1 for name in network.state_dict())
    assert len(parts.blocks) == blocks and parts.stem
    assert network.eval()(torch.rand(2, 1, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize(
    ("architecture", "words"),
    [("resnet18x", "timm has no such model"), ("deit_tiny_distilled_patch16_224", "no single linear head")],
)
def test_what_timm_has_not_or_does_not_tell_is_refused(architecture, words):
    pytest.importorskip("timm", reason="timm is an extra")
    with pytest.raises(ConfigError, match=words):
        timm_classifier(spec_of(), architecture=architecture)


def test_without_timm_the_way_to_it_is_told(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name == "timm":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r'pip install "ptft\[timm\]"'):
        timm_classifier(spec_of(), architecture="resnet18")
