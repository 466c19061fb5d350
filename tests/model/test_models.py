"""Every model on disk: builds from its YAML, tells its parts, learns in all its parameters, is saved and seeded."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.functional import cross_entropy

from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.parts import HasParts, belongs, feature_dim, parts_of, replace_head

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
NAMES = sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))


def spec_of(*shape, num_classes=10):
    return DataSpec(kind="image", shape=shape, classes=tuple(f"class {i}" for i in range(num_classes)))


def read(name):
    settings = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    module, _, attribute = settings.pop("_target_").rpartition(".")
    return getattr(import_module(module), attribute), settings


def build(name, spec, **overrides):
    target, settings = read(name)
    return target(spec, **{**settings, **overrides})


CLASSIFIERS = [name for name in NAMES if hasattr(read(name)[0], "parts")]


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    """A model for 8x8 grey images, built once for all tests that leave its parameters as they are."""
    torch.manual_seed(0)
    return build(name, spec_of(1, 8, 8))


@pytest.fixture(scope="module", params=CLASSIFIERS)
def classifier(request):
    """As `model`, but only those that give logits and tell their parts."""
    return build(request.param, spec_of(1, 8, 8))


def is_classifier(model):
    return isinstance(model, HasParts)


def test_there_are_the_models_promised():
    assert {f"vision/{name}" for name in ("vgg", "resnet18", "convnet", "mlp", "dcgan")} <= set(NAMES)


def test_yaml_lists_every_argument_with_its_default_and_opens_with_a_comment(name):
    target, settings = read(name)
    arguments = [p for p in inspect.signature(target).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert settings == {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in arguments}
    assert (CONFIGS / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 8), (1, 28), (3, 32)])
def test_forward_gives_one_row_of_logits_an_image(name, channels, side):
    model = build(name, spec_of(channels, side, side, num_classes=7))
    if is_classifier(model):
        assert model(torch.rand(2, channels, side, side)).shape == (2, 7)
    else:
        images = model(torch.randn(2, model.latent))
        assert images.shape == (2, channels, side, side)
        assert model.discriminator(images).shape == (2,)


def test_parts_cover_every_parameter_and_buffer_exactly_once(classifier):
    parts = parts_of(classifier)
    prefixes = [*parts.stem, *(prefix for block in parts.blocks for prefix in block), parts.head]
    names = list(classifier.state_dict())
    for name in names:
        assert sum(belongs(name, prefix) for prefix in prefixes) == 1, name
    for prefix in prefixes:
        assert any(belongs(name, prefix) for name in names), prefix


def test_parts_stand_in_the_order_data_flow(classifier):
    parts = parts_of(classifier)
    called = []
    prefixes = [*parts.stem, *(prefix for block in parts.blocks for prefix in block), parts.head]
    hooks = [
        classifier.get_submodule(prefix).register_forward_pre_hook(lambda *_, prefix=prefix: called.append(prefix))
        for prefix in prefixes
    ]
    classifier.eval()(torch.rand(2, 1, 8, 8))
    for hook in hooks:
        hook.remove()
    assert called == prefixes


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_features_come_out_when_the_head_is_taken_off(name):
    model = build(name, spec_of(1, 8, 8))
    width = feature_dim(model)
    replace_head(model, nn.Identity())
    assert model.eval()(torch.rand(2, 1, 8, 8)).shape == (2, width)


def test_gradients_reach_every_parameter(model):
    model.train().zero_grad(set_to_none=True)
    if is_classifier(model):
        cross_entropy(model(torch.randn(16, 1, 8, 8)), torch.arange(16) % 10).backward()
    else:
        model.discriminator(model(torch.randn(16, model.latent))).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_same_seed_gives_the_same_weights_and_a_state_dict_brings_them_back(name):
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(build(name, spec_of(1, 8, 8)))
    first, again, other = models
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    assert not all(torch.equal(value, other.state_dict()[key]) for key, value in first.state_dict().items())
    other.load_state_dict(first.state_dict())
    inputs = torch.rand(2, 1, 8, 8) if is_classifier(first) else torch.randn(2, first.latent)
    assert torch.equal(first.eval()(inputs), other.eval()(inputs))


def test_bfloat16_and_channels_last_give_nearly_the_same(model):
    model.eval()
    inputs = torch.rand(4, 1, 8, 8) if is_classifier(model) else torch.randn(4, model.latent)
    with torch.no_grad():
        expected = model(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            if inputs.ndim == 4:
                inputs = inputs.to(memory_format=torch.channels_last)
            outputs = model.to(memory_format=torch.channels_last)(inputs).float()
    assert (outputs - expected).abs().max() <= 0.05 * expected.abs().max()


def test_a_model_of_images_refuses_other_data(name):
    with pytest.raises(ConfigError, match=r"expects examples of shape \(channels, height, width\).*\(64,\)"):
        build(name, spec_of(64))
