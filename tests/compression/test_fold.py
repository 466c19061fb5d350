import copy

import pytest
import torch
from torch import nn

from ptft.compression.fold import conv_norm_pairs, fold_batch_norms
from tests.compression.workshop import resnet, vgg


class Inverted(nn.Module):
    """A residual block as MobileNetV2 has it, with one ReLU6 for all."""

    def __init__(self, channels=8, wide=16):
        super().__init__()
        self.expand, self.norm1 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.depthwise, self.norm2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.BatchNorm2d(wide)
        self.project, self.norm3 = nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.activation = nn.ReLU6(inplace=True)

    def forward(self, features):
        hidden = self.activation(self.norm1(self.expand(features)))
        hidden = self.activation(self.norm2(self.depthwise(hidden)))
        return features + self.norm3(self.project(hidden))


def mobile():
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
    return nn.Sequential(stem, Inverted(), Inverted(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def stirred(network, seed=1):
    """Give batch norms statistics and weights that are not those of a fresh one."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            size = module.num_features
            module.running_mean.copy_(torch.randn(size, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(size, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(size, generator=generator) + 0.5)
            module.bias.data.copy_(torch.randn(size, generator=generator) * 0.1)
    return network.eval()


@pytest.mark.parametrize("build", [vgg, resnet, mobile])
def test_folding_takes_all_batch_norms_and_keeps_the_logits(build):
    network, image = stirred(build()), torch.randn(8, 1, 12, 12)
    count = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    with torch.no_grad():
        expected = network(image).clone()
        pairs = fold_batch_norms(network, lambda: [network(image)])
        assert len(pairs) == count > 0
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        torch.testing.assert_close(network(image), expected, rtol=1e-5, atol=1e-5)


class Crossed(nn.Module):
    """Its first convolution is read by a norm and by a sum; its second by a norm that is called twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.conv3, self.norm3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, image):
        first = self.conv1(image)
        second = self.conv2(first + self.norm1(first))
        third = self.norm2(self.norm2(second))
        third = self.conv3(third)
        third += 1
        return self.norm3(third)


def test_norms_that_cannot_be_folded_stay():
    torch.manual_seed(0)
    network, image = stirred(Crossed()), torch.randn(4, 1, 6, 6)
    before = copy.deepcopy(network)
    assert conv_norm_pairs(network, lambda: [network(image)]) == [("conv1", "norm1")], "the others are seen to differ"
    with torch.no_grad():
        assert fold_batch_norms(network, lambda: [network(image)]) == []
        assert torch.equal(network(image), before(image))
    assert network.state_dict().keys() == before.state_dict().keys()
