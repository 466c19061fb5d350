import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptft.compression.fake_quantise import rounded_layers
from ptft.compression.ranges import fake_quantise, output_bounds, quantisable
from ptft.errors import ConfigError
from tests.compression.workshop import TinyWorkshop, image_batch, image_task, resnet, vgg


class Mixed(nn.Module):
    """Convolutions whose outputs go through a ReLU, a ReLU6, a GELU and into a sum."""

    def __init__(self):
        super().__init__()
        self.relu, self.relu6 = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3)
        self.gelu, self.sum = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1)
        self.head, self.idle = nn.Linear(8, 3), nn.Linear(40, 40)

    def forward(self, image):
        hidden = F.relu(F.max_pool2d(self.relu(image), 2), inplace=True)
        hidden = F.relu6(5 * self.relu6(hidden))  # not its own 6
        hidden = F.gelu(self.gelu(hidden))
        return self.head((hidden + self.sum(hidden)).mean((2, 3)))


def test_bounds_are_found_where_a_relu_follows_and_nowhere_else():
    torch.manual_seed(0)
    network, image = Mixed().eval(), torch.randn(16, 4, 14, 14)
    bounds = output_bounds(network, ["relu", "relu6", "gelu", "sum", "idle"], lambda: [network(image)])
    assert bounds == {"relu": (0.0, None), "relu6": (0.0, None), "gelu": (None, None), "sum": (None, None)}


def test_the_bound_of_a_relu6_is_found():
    torch.manual_seed(0)
    first, second = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 3, 3)
    first.weight.data *= 10
    network, image = nn.Sequential(first, nn.ReLU6(inplace=True), second).eval(), torch.randn(16, 4, 8, 8)
    bounds = output_bounds(network, ["0", "2"], lambda: [network(image)])
    assert bounds == {"0": (0.0, 6.0), "2": (None, None)}


def test_convolutions_over_few_values_and_small_heads_stay_float_unless_there_is_nothing_else():
    assert "blocks.0.0" not in quantisable(vgg()) and "blocks.1.0" in quantisable(vgg())
    assert quantisable(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2))) == ["0", "2"]


def test_exclude_takes_layers_out_and_must_match_one():
    assert [name for name in quantisable(vgg(), ["^blocks"]) if name.startswith("blocks")] == []
    with pytest.raises(ConfigError, match="matches no layer"):
        quantisable(vgg(), ["nowhere"])
    with pytest.raises(ConfigError, match="no regular expression"):
        quantisable(vgg(), ["("])


def test_rounding_to_bytes_moves_the_logits_little_and_clears_all_norms():
    for network in (vgg(), resnet()):
        batch = image_batch(64)
        task = image_task(network)
        TinyWorkshop(task, batch).recover(task, "30st")
        twin = copy.deepcopy(task)
        names = fake_quantise(twin, lambda: TinyWorkshop(task, batch).batches(64))  # noqa: B023
        assert set(rounded_layers(twin.model)) == set(names)
        with torch.no_grad():
            expected, found = task(batch)["logits"], twin(batch)["logits"]
        difference = (found - expected).abs().max()
        assert 0 < difference < 0.1 * expected.abs().max()
        assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())


def test_an_input_that_is_rounded_already_shares_that_rounding():
    batch, task = image_batch(64), image_task(vgg())
    fake_quantise(task, lambda: TinyWorkshop(task, batch).batches(64))
    layers = rounded_layers(task.model)
    assert layers["blocks.2.0"].input_rounder is layers["blocks.1.0"].output_rounder, "through ReLU and pooling"
    assert layers["blocks.2.3"].input_rounder is layers["blocks.2.0"].output_rounder


def test_scales_hang_on_training_examples_alone():
    task = image_task(vgg())

    def scales(train, val):
        twin, workshop = copy.deepcopy(task), TinyWorkshop(task, train, val)
        fake_quantise(twin, lambda: workshop.batches(64))
        return [float(layer.input_rounder.scale) for layer in rounded_layers(twin.model).values()]

    train, val = image_batch(64), image_batch(32, seed=1)
    changed = {**val, "image": val["image"] * 100}
    assert scales(train, val) == scales(train, changed)
    assert scales(train, val) != scales({**train, "image": train["image"] * 2}, val)
