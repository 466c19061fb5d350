"""What a network costs, against counting by hand."""

import torch
from torch import nn

from ptft.compression.cost import (
    count_parameters,
    count_zeros,
    example_inputs,
    multiply_adds,
    network_inputs,
    sparsity,
)
from ptft.data.data_module import DataSpec
from tests.compression.workshop import IMAGE_SPEC, image_batch, image_task, vgg


def test_multiply_adds_are_those_of_convolutions_and_matrix_products():
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2, groups=6),
        nn.Flatten(), nn.Linear(6 * 3 * 3, 5),
    )  # fmt: skip
    expected = 6 * 2 * 9 * 8 * 8 + 6 * 9 * 3 * 3 + 54 * 5
    assert multiply_adds(network, (torch.zeros(1, 2, 8, 8),)) == expected
    assert multiply_adds(network, (torch.zeros(4, 2, 8, 8),)) == 4 * expected


def test_counting_leaves_modes_and_statistics_as_they_are():
    network = vgg().train()
    network.blocks[0].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    multiply_adds(network, (torch.randn(2, 1, 12, 12),))
    assert network.training and not network.blocks[0].training and network.blocks[1].training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_shared_parameters_count_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert count_parameters(nn.Sequential(first, second)) == 16 + 4 + 4


def test_zeros_of_norms_and_biases_do_not_count():
    network = nn.Sequential(nn.Linear(10, 4), nn.BatchNorm1d(4))
    nn.init.zeros_(network[0].bias)
    nn.init.zeros_(network[1].weight)
    assert sparsity(network) == 0
    with torch.no_grad():
        network[0].weight[1] = 0
        network[0].weight[2, 3] = -0.0
    assert count_zeros(network) == (11, 40)
    assert sparsity(network) == 11 / 40
    assert sparsity(nn.ReLU()) == 0


def test_inputs_of_the_network_come_in_order():
    batch = image_batch(3)
    assert network_inputs(image_task(vgg()), batch)[0] is batch["image"]
    assert example_inputs(IMAGE_SPEC)[0].shape == (1, 1, 12, 12)
    spec = DataSpec(kind="text", shape=(7,), inputs=("input_ids", "attention_mask"), vocab_size=9)
    ids, mask = example_inputs(spec)
    assert ids.dtype == mask.dtype == torch.int64
    assert ids.tolist() == [[0] * 7] and mask.tolist() == [[1] * 7]
