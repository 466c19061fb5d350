"""Edits of a network's structure: replayed on a fresh network, the weights load and give the same logits."""

import json

import pytest
import torch
from torch import nn

from ptft.compression.steps.low_rank import factorised
from ptft.compression.structure import (
    apply_edits,
    keep_layers,
    replace_module,
    shapes_edit,
    snapshot,
    split_layer,
)
from ptft.errors import CheckpointError
from tests.compression.workshop import image_batch, resnet, vgg


class Deep(nn.Module):
    """A list of layers between two others."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Tanh()) for _ in range(4))
        for place, layer in enumerate(self.layers):
            layer.layer_idx = place
        self.head = nn.Linear(8, 3)

    def forward(self, features):
        features = self.stem(features)
        for layer in self.layers:
            features = features + layer(features)
        return self.head(features)


def replayed(fresh, edits, network, *inputs):
    """Apply edits to a fresh network, load the weights of the compressed one, and compare."""
    apply_edits(fresh, json.loads(json.dumps(list(edits))))
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh.eval()(*inputs), network.eval()(*inputs))
    return fresh


def narrow(layer, keep, norm):
    """Remove output channels of a convolution and its norm by hand."""
    layer.weight = nn.Parameter(layer.weight.detach()[keep].clone())
    layer.out_channels = norm.num_features = len(keep)
    for name in ("weight", "bias"):
        setattr(norm, name, nn.Parameter(getattr(norm, name).detach()[keep].clone()))
    for name in ("running_mean", "running_var"):
        setattr(norm, name, getattr(norm, name)[keep].clone())


def test_cut_channels_replay():
    network, keep = resnet(), [0, 2, 3, 5, 7]
    before, block = snapshot(network), network.layer1[0]
    narrow(block.conv1, keep, block.bn1)
    block.conv2.weight = nn.Parameter(block.conv2.weight.detach()[:, keep].clone())
    block.conv2.in_channels = len(keep)
    edit = shapes_edit(before, network)
    assert edit["numbers"] == {
        "layer1.0.conv1": {"out_channels": 5}, "layer1.0.bn1": {"num_features": 5}, "layer1.0.conv2": {"in_channels": 5}
    }  # fmt: skip
    assert edit["tensors"]["layer1.0.conv2.weight"] == [8, 5, 3, 3]
    assert len(edit["tensors"]) == 6
    fresh = replayed(resnet(seed=9), [edit], network, image_batch(5)["image"])
    assert fresh.layer1[0].conv1.out_channels == 5


def test_a_norms_shape_replays():
    network = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2))
    before = snapshot(network)
    network[0].weight, network[0].bias = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(3))
    network[1].weight, network[1].bias = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))
    network[1].normalized_shape = (3,)
    network[2].weight = nn.Parameter(torch.randn(2, 3))
    network[0].out_features = network[2].in_features = 3
    fresh = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2))
    replayed(fresh, [shapes_edit(before, network)], network, torch.randn(5, 4))
    assert fresh[1].normalized_shape == (3,)


def test_frozen_parameters_stay_frozen():
    network, fresh = nn.Linear(4, 6), nn.Linear(4, 6).requires_grad_(False)
    before = snapshot(network)
    network.weight, network.bias = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.randn(2))
    apply_edits(fresh, [shapes_edit(before, network)])
    assert fresh.weight.shape == (2, 4) and not fresh.weight.requires_grad


def test_an_unchanged_network_gives_an_empty_edit():
    network = vgg()
    assert shapes_edit(snapshot(network), network) == {"kind": "shapes", "tensors": {}, "numbers": {}, "config": {}}


def test_kept_layers_replay_in_order():
    network = Deep()
    last = network.layers[3]
    keep_layers(network, "layers", [0, 3])
    assert network.layers[1] is last
    assert [layer.layer_idx for layer in network.layers] == [0, 1]
    replayed(Deep(), [{"kind": "layers", "layers": "layers", "keep": [0, 3]}], network, torch.randn(5, 6))


def test_low_rank_layers_replay():
    network, ranks = vgg(), {"blocks.1.0": 3, "hidden.0.0": 2}
    for name, rank in ranks.items():
        replace_module(network, name, factorised(network.get_submodule(name), rank))
    fresh = replayed(vgg(seed=9), [{"kind": "low_rank", "ranks": ranks}], network, image_batch(5)["image"])
    assert fresh.blocks[1][0][0].out_channels == 3


def test_edits_replay_one_after_the_other():
    network = Deep()
    keep_layers(network, "layers", [1, 2])
    replace_module(network, "stem", factorised(network.stem, 2))
    before = snapshot(network)
    network.layers[0][0].out_features = 8
    edits = [
        {"kind": "layers", "layers": "layers", "keep": [1, 2]},
        {"kind": "low_rank", "ranks": {"stem": 2}},
        shapes_edit(before, network),
    ]
    replayed(Deep(), edits, network, torch.randn(5, 6))


@pytest.mark.parametrize("layer, shape", [
    (nn.Linear(5, 7, bias=False), (3, 5)),
    (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2), (3, 4, 9, 9)),
    (nn.Conv2d(4, 6, (1, 3), padding="same", padding_mode="reflect"), (3, 4, 9, 9)),
])  # fmt: skip
def test_a_split_layer_takes_and_gives_the_same_shapes(layer, shape):
    layer.double().eval()
    pair, given = split_layer(layer, 2), torch.randn(*shape, dtype=torch.float64)
    assert pair(given).shape == layer(given).shape
    assert pair(given).dtype == torch.float64 and not pair.training
    assert (pair[1].bias is None) == (layer.bias is None)


def test_layers_without_a_form_of_a_lower_rank_are_refused():
    with pytest.raises(TypeError, match="no form of a lower rank"):
        split_layer(nn.Conv2d(4, 4, 3, groups=2), 2)


@pytest.mark.parametrize("edit", [
    {"kind": "unheard"},
    {"kind": "low_rank", "ranks": {"nowhere": 2}},
    {"kind": "shapes", "tensors": {"nowhere.weight": [2]}, "numbers": {}},
    {"kind": "layers", "layers": "blocks", "keep": [7]},
])  # fmt: skip
def test_an_edit_that_does_not_fit_says_so(edit):
    with pytest.raises(CheckpointError, match="does not fit"):
        apply_edits(vgg(), [edit])
