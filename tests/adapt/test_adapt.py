"""What is frozen stands still to the bit, statistics too, and what is not goes on learning."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.functional import cross_entropy

from ptft.adapt.adapt import describe
from ptft.adapt.freeze import Freeze
from ptft.adapt.full import Full
from ptft.adapt.linear_probe import LinearProbe
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.dcgan import DCGAN
from ptft.model.vision.mlp import MLP
from ptft.model.vision.resnet import ResNet
from ptft.model.vision.vgg import VGG
from ptft.task.task import Task

SPEC = DataSpec(kind="image", shape=(1, 8, 8), classes=tuple("abcde"))
CONFIGS = Path(__file__).parents[2] / "configs" / "adapt"


def make(network):
    torch.manual_seed(0)
    if network is ResNet:
        return ResNet(SPEC, blocks=(1, 1), widths=(8, 16))
    if network is VGG:
        return VGG(SPEC, widths=(8, 16), depths=(1, 2), hidden=(32,))
    if network is MLP:
        return MLP(SPEC, norm="batch", dropout=0.3)
    return ConvNet(SPEC, widths=(8, 16), dropout=0.3)


class Holder(Task):
    """A task that holds a model and no more; brings the contract's own train()."""

    forward = count = loss = make_metrics = evaluation_step = None

    def __init__(self, model):
        super().__init__()
        self.model = model


def train(model, steps=20):
    """Train with an evaluation in the middle; return which entries of the state changed."""
    task = Holder(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    for step in range(steps):
        if step == steps // 2:
            task.eval()
            model(torch.randn(16, 1, 8, 8))
        task.train()
        loss = cross_entropy(model(torch.randn(16, 1, 8, 8)), torch.arange(16) % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


# --- Linear probe and full --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [ConvNet, VGG, ResNet, MLP])
def test_a_linear_probe_moves_nothing_but_the_head(network):
    model = make(network)
    LinearProbe().apply(model)
    head = model.parts().head
    assert train(model) == {f"{head}.weight", f"{head}.bias"}


def test_without_the_mark_batch_norm_would_move():
    model = make(ConvNet)
    LinearProbe().apply(model)
    for module in model.modules():
        vars(module).pop("frozen", None)
    assert any(name.endswith("running_mean") for name in train(model))


@pytest.mark.parametrize("network", [ConvNet, VGG, ResNet, MLP])
def test_a_linear_probe_sees_the_same_features_while_training(network):
    model = make(network)
    LinearProbe().apply(model)
    task = Holder(model)
    image = torch.randn(8, 1, 8, 8)
    assert torch.equal(task.train().model(image), task.eval().model(image))


def test_a_linear_probe_goes_on_training_what_stands_around_the_head():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False))
            self.classifier = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))

        def parts(self):
            from ptft.model.parts import Parts

            return Parts(stem=("body",), blocks=(("classifier.0",),), head="classifier.1")

    model = Nested()
    LinearProbe().apply(model)
    Holder(model).train()
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }
    assert model.classifier.training and model.classifier[1].training
    assert not model.body[1].training


def test_full_freezes_nothing():
    model = make(ConvNet)
    Full().apply(model)
    assert train(model) == set(model.state_dict())


@pytest.mark.parametrize("option", [LinearProbe(), Freeze(blocks=1)])
def test_a_model_without_parts_is_refused(option):
    with pytest.raises(ConfigError, match=r"DCGAN has no parts\(\); use adapt=full"):
        option.apply(DCGAN(SPEC))


# --- Freeze -----------------------------------------------------------------------------------------------------------


def test_freeze_holds_the_stem_and_the_first_blocks():
    model = make(ResNet)
    Freeze(blocks=1).apply(model)
    moved = train(model)
    still = {name for name in model.state_dict() if name.startswith(("conv1.", "bn1.", "layer1."))}
    assert moved == set(model.state_dict()) - still


def test_freeze_with_all_blocks_leaves_the_head():
    model = make(VGG)
    Freeze(blocks=3).apply(model)
    assert train(model) == {"head.weight", "head.bias"}


def test_freeze_by_pattern_holds_what_matches():
    model = make(ConvNet)
    Freeze(blocks=0, patterns=("blocks.0.*", "head.bias")).apply(model)
    still = {name for name in model.state_dict() if name.startswith("blocks.0.")} | {"head.bias"}
    assert train(model) == set(model.state_dict()) - still


def test_freeze_works_by_pattern_on_a_model_without_parts():
    model = DCGAN(SPEC)
    Freeze(blocks=0, patterns=("discriminator.layers.0.*",)).apply(model)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"discriminator.layers.0.weight", "discriminator.layers.0.bias"}


def test_blocks_and_patterns_add_up():
    model = make(ConvNet)
    Freeze(blocks=1, patterns=("head.bias",)).apply(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"head.weight"}


def test_patterns_that_match_nothing_are_all_named_with_what_comes_near():
    with pytest.raises(ConfigError) as refused:
        Freeze(blocks=0, patterns=("block.0.*", "head.*", "heed.weight")).apply(make(ConvNet))
    first, second = str(refused.value).splitlines()
    assert "`block.0.*` matches no parameter" in first and "blocks.0.*" in first
    assert "`heed.weight` matches no parameter" in second and "head.weight" in second


def test_more_blocks_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"adapt.blocks=9, but ResNet has 2 blocks; use 0 to 2"):
        Freeze(blocks=9).apply(make(ResNet))


def test_freezing_nothing_is_refused():
    with pytest.raises(ConfigError, match="freezes nothing"):
        Freeze(blocks=0)


def test_freezing_everything_is_refused_and_changes_nothing():
    model = make(ConvNet)
    with pytest.raises(ConfigError, match="nothing is left to train"):
        Freeze(blocks=0, patterns=("*",)).apply(model)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(getattr(module, "frozen", False) for module in model.modules())


# --- The line and the YAMLs -------------------------------------------------------------------------------------------


def test_the_line_counts_trainable_parameters():
    model = MLP(SPEC, hidden=(64,))
    LinearProbe().apply(model)
    assert describe(model) == "trainable 325 of 4,485 parameters"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_yaml_lists_every_argument_with_its_default_and_builds(path):
    settings = OmegaConf.to_container(OmegaConf.load(path))
    module, _, attribute = settings.pop("_target_").rpartition(".")
    target = getattr(import_module(module), attribute)
    arguments = [p for p in inspect.signature(target).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert settings == {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in arguments}
    assert path.read_text().startswith("# ")
    target(**settings).apply(make(ConvNet))
