"""Every model of images on disk: builds from its YAML, tells its parts, learns in all of it, is saved and seeded."""

import copy
import inspect
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.functional import cross_entropy

from ptft.adapt.lora import Lora
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.parts import HasParts, belongs, feature_dim, parts_of, replace_head
from tests.tiny_models import transformers_folder

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
NAMES = sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in (CONFIGS / "vision").rglob("*.yaml"))


def spec_of(*shape, num_classes=10):
    return DataSpec(kind="image", shape=shape, classes=tuple(f"class {i}" for i in range(num_classes)))


def read(name):
    settings = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    module, _, attribute = settings.pop("_target_").rpartition(".")
    return getattr(import_module(module), attribute), settings


def build(name, spec, **overrides):
    target, settings = read(name)
    if name == "vision/timm":
        pytest.importorskip("timm", reason="timm is an extra")
    if name == "vision/transformers":
        overrides = {"name": tiny_transformer().name, **overrides}
    return target(spec, **{**settings, **SMALLER.get(name, {}), **overrides})


CLASSIFIERS = [name for name in NAMES if name != "vision/dcgan"]
SIDES = dict.fromkeys(("vision/vgg11", "vision/vgg16", "vision/convnext_tiny", "vision/swin_t"), 32)
"""The side of the pictures that models are tried on; 8 for the others."""
LARGE = ("vision/vgg11", "vision/vgg16")
"""Those of which one copy at a time is enough: half a gigabyte each."""
OWN = [name for name in NAMES if name.removeprefix("vision/") in ("convnet", "dcgan", "mlp", "resnet18", "vgg")]
"""Models that take pictures of any size."""
VARIANTS = ("vision/vit_tiny",)
"""YAMLs that set a model of another one otherwise."""
SMALLER = {"vision/vit_b_16": {"patch_size": 4, "depth": 2, "width": 24, "mlp": 48}}
"""What makes a model fit images of 8x8."""


@cache
def tiny_transformer():
    """A folder of transformers, for as long as the tests run."""
    folder = TemporaryDirectory()
    transformers_folder(Path(folder.name))
    return folder


def side_of(name):
    return SIDES.get(name, 8)


def images(name, number=2):
    return torch.rand(number, 1, side_of(name), side_of(name))


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    """A model for small grey images, built once for all tests that leave its parameters as they are."""
    torch.manual_seed(0)
    return build(name, spec_of(1, side_of(name), side_of(name)))


@pytest.fixture
def classifier(name, model):
    """As `model`, but only those that give logits and tell their parts."""
    if name not in CLASSIFIERS:
        pytest.skip("it tells no parts")
    return model


def is_classifier(model):
    return isinstance(model, HasParts)


def test_there_are_the_models_promised():
    assert {f"vision/{name}" for name in ("vgg", "resnet18", "convnet", "mlp", "dcgan")} <= set(NAMES)


def test_yaml_lists_every_argument_with_its_default_and_opens_with_a_comment(name):
    target, settings = read(name)
    arguments = {p.name: p.default for p in inspect.signature(target).parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert settings.keys() == arguments.keys()
    if name not in VARIANTS:
        for key, default in arguments.items():
            value = list(default) if isinstance(default, tuple) else default
            assert default is inspect.Parameter.empty or settings[key] == value, key
    assert (CONFIGS / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 8), (1, 28), (3, 32)])
@pytest.mark.parametrize("name", OWN)
def test_own_models_take_any_small_picture(name, channels, side):
    model = build(name, spec_of(channels, side, side, num_classes=7))
    if is_classifier(model):
        assert model(torch.rand(2, channels, side, side)).shape == (2, 7)
    else:
        images = model(torch.randn(2, model.latent))
        assert images.shape == (2, channels, side, side)
        assert model.discriminator(images).shape == (2,)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGE])
def test_forward_gives_one_row_of_logits_a_picture_of_any_channels(name, channels):
    side = 2 * side_of(name)
    model = build(name, spec_of(channels, side, side, num_classes=7))
    if is_classifier(model):
        assert model.eval()(torch.rand(2, channels, side, side)).shape == (2, 7)
    else:
        assert model(torch.randn(2, model.latent)).shape == (2, channels, side, side)


def test_parts_cover_every_parameter_and_buffer_exactly_once(classifier):
    parts = parts_of(classifier)
    prefixes = [*parts.stem, *(prefix for block in parts.blocks for prefix in block), parts.head]
    names = list(classifier.state_dict())
    for name in names:
        assert sum(belongs(name, prefix) for prefix in prefixes) == 1, name
    for prefix in prefixes:
        assert any(belongs(name, prefix) for name in names), prefix


def test_parts_stand_in_the_order_data_flow(name, classifier):
    parts = parts_of(classifier)
    called = []
    prefixes = [*parts.stem, *(prefix for block in parts.blocks for prefix in block), parts.head]
    modules = dict(classifier.named_modules())
    prefixes = [prefix for prefix in prefixes if prefix in modules]  # others are single tensors: a class token
    hooks = [
        modules[prefix].register_forward_pre_hook(lambda *_, prefix=prefix: called.append(prefix))
        for prefix in prefixes
    ]
    with torch.no_grad():
        classifier.eval()(images(name))
    for hook in hooks:
        hook.remove()
    assert called == prefixes


def test_features_come_out_when_the_head_is_taken_off(name, classifier):
    width, head = feature_dim(classifier), classifier.get_submodule(parts_of(classifier).head)
    replace_head(classifier, nn.Identity())
    with torch.no_grad():
        assert classifier.eval()(images(name)).shape == (2, width)
    replace_head(classifier, head)


def test_gradients_reach_every_parameter(name, model):
    if name == "vision/timm":
        model = copy.deepcopy(model)
        for parameter in model.parameters():
            if not parameter.any():  # timm starts each residual block as nothing, which no gradient passes
                nn.init.ones_(parameter)
    model.train().zero_grad(set_to_none=True)
    if is_classifier(model):
        inputs = torch.randn(4 if name in LARGE else 16, *images(name).shape[1:])
        cross_entropy(model(inputs), torch.arange(len(inputs)) % 10).backward()
    else:
        model.discriminator(model(torch.randn(16, model.latent))).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name
    model.zero_grad(set_to_none=True)


def test_the_same_seed_gives_the_same_weights_and_a_state_dict_brings_them_back(name, model):
    torch.manual_seed(1)
    other = build(name, spec_of(1, side_of(name), side_of(name)))
    if name not in LARGE:
        torch.manual_seed(1)
        again = build(name, spec_of(1, side_of(name), side_of(name))).state_dict()
        assert all(torch.equal(value, again[key]) for key, value in other.state_dict().items())
    assert not all(torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items())
    other.load_state_dict(model.state_dict())
    inputs = images(name) if is_classifier(model) else torch.randn(2, model.latent)
    with torch.no_grad():
        assert torch.equal(model.eval()(inputs), other.eval()(inputs))


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in LARGE])
def test_low_rank_updates_start_at_nothing_train_and_are_added_to_the_weights(name):
    model = build(name, spec_of(1, side_of(name), side_of(name))).eval()
    names, parts, inputs = list(model.state_dict()), parts_of(model), images(name)
    with torch.no_grad():
        before = model(inputs)
    Lora(rank=2).structure(model)
    Lora(rank=2).apply(model)
    torch.testing.assert_close(model(inputs), before, atol=1e-5, rtol=1e-4)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(cross_entropy(model(inputs), torch.tensor([0, 1])), trained, allow_unused=True)
    assert all(gradient is not None for gradient in gradients)
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(0.01 * torch.randn_like(parameter))
        changed = model(inputs)
        Lora(rank=2).merge(model)
        torch.testing.assert_close(model(inputs), changed, atol=1e-4, rtol=1e-3)
    assert sorted(model.state_dict()) == sorted(names) and parts_of(model) == parts


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in LARGE])
def test_a_copy_is_a_model_of_its_own(name):
    model = build(name, spec_of(1, side_of(name), side_of(name)))
    twin = copy.deepcopy(model)
    assert parts_of(twin) == parts_of(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in twin.parameters())
    assert is_classifier(twin) and twin.eval()(images(name)).shape == (2, 10)


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in LARGE])
def test_data_without_labels_leave_a_head_of_no_outputs(name):
    model = build(name, spec_of(1, side_of(name), side_of(name), num_classes=0)).eval()
    assert model(images(name)).shape == (2, 0) and feature_dim(model) > 0


def test_bfloat16_and_channels_last_give_nearly_the_same(name, model):
    model.eval()
    inputs = images(name, 4) if is_classifier(model) else torch.randn(4, model.latent)
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
