"""Torchvision's classifiers: its own networks under its own names, with rates, channels and sizes as asked."""

from typing import get_args

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.ops import StochasticDepth

from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.vision.resnet import ResNet
from ptft.model.vision.torchvision import LEAST_SIDE, Architecture, torchvision_classifier

SMALL = ("resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "swin_t")


def spec_of(side, channels=3, num_classes=1000):
    return DataSpec(kind="image", shape=(channels, side, side), classes=tuple(map(str, range(num_classes))))


@pytest.mark.parametrize("architecture", SMALL)
def test_the_same_seed_gives_torchvisions_own_network(architecture):
    torch.manual_seed(0)
    expected = getattr(models, architecture)(weights=None).eval()
    torch.manual_seed(0)
    network = torchvision_classifier(spec_of(32), architecture=architecture).eval()
    assert list(network.state_dict()) == list(expected.state_dict())
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), expected(image))


def test_torchvision_knows_every_architecture():
    assert set(get_args(Architecture)) <= set(models.list_models(module=models))


@pytest.mark.parametrize(("architecture", "family"), [("convnext_tiny", "convnext"), ("swin_t", "swin")])
def test_too_small_pictures_are_refused_with_the_least_side(architecture, family):
    least = LEAST_SIDE[family]
    network = torchvision_classifier(spec_of(least, num_classes=3), architecture=architecture).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, least, least)).shape == (1, 3)
    with pytest.raises(ConfigError, match=f"needs pictures of at least {least}x{least}, but the data have"):
        torchvision_classifier(spec_of(least - 1), architecture=architecture)


def test_rates_are_set_where_the_architecture_has_them():
    network = torchvision_classifier(
        spec_of(32, num_classes=3), architecture="efficientnet_b0", dropout=0.4, stochastic_depth=0.1
    )
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.4]
    rates = [m.p for m in network.modules() if isinstance(m, StochasticDepth)]
    assert rates[0] == 0 and rates[-1] == pytest.approx(0.1) and rates == sorted(rates)
    for key in ("dropout", "stochastic_depth"):
        with pytest.raises(ConfigError, match=f"model.{key}=0.1: resnet18 has none"):
            torchvision_classifier(spec_of(32), architecture="resnet18", **{key: 0.1})
    with pytest.raises(ConfigError, match="swin_t has none"):
        torchvision_classifier(spec_of(32), architecture="swin_t", dropout=0.1)


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "convnext_tiny"])
@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_start_as_spread_as_three(architecture, channels):
    torch.manual_seed(0)
    convolutions = [
        next(m for m in network.modules() if isinstance(m, nn.Conv2d))
        for network in (torchvision_classifier(spec_of(32, c, 3), architecture=architecture) for c in (3, channels))
    ]
    assert convolutions[1].in_channels == channels and convolutions[1].stride == convolutions[0].stride
    assert convolutions[1].weight.std().item() == pytest.approx(convolutions[0].weight.std().item(), rel=0.15)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ConfigError, match="expected one of alexnet, vgg11"):
        torchvision_classifier(spec_of(32), architecture="resnet19")


@pytest.mark.parametrize(("side", "kernel"), [(28, 3), (63, 3), (64, 7), (224, 7)])
def test_resnet_takes_the_stem_that_fits_the_picture(side, kernel):
    assert ResNet(spec_of(side, num_classes=2), blocks=(1,), widths=(8,)).conv1.kernel_size == (kernel, kernel)
