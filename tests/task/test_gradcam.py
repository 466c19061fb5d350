"""Grad-CAM against a map worked out by hand, and on every kind of feature map a model may give."""

import pytest
import torch
from torch import nn

from ptft.errors import ConfigError
from ptft.model.parts import Parts
from ptft.task.gradcam import grad_cam


class Net(nn.Module):
    """Any body whose blocks are told, then a head."""

    def __init__(self, blocks, head):
        super().__init__()
        self.blocks, self.head = nn.Sequential(*blocks), head

    def forward(self, image):
        return self.head(self.blocks(image))

    def parts(self):
        return Parts((), tuple((f"blocks.{number}",) for number in range(len(self.blocks))), "head")


class Patches(nn.Module):
    """Cuts images into 2x2 patches and puts a class token before them: (B, T, D)."""

    def __init__(self, width, class_token=True):
        super().__init__()
        self.convolution, self.class_token = nn.Conv2d(1, width, 2, stride=2), class_token

    def forward(self, image):
        tokens = self.convolution(image).flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) if self.class_token else tokens


class Attention(nn.Module):
    """One head of attention with a residual."""

    def forward(self, tokens):
        return tokens + (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens


class Pick(nn.Module):
    """Reads one token, or the mean of all."""

    def __init__(self, width, first):
        super().__init__()
        self.linear, self.first = nn.Linear(width, 3), first

    def forward(self, tokens):
        return self.linear(tokens[:, 0] if self.first else tokens.mean(1))


class ChannelsLast(nn.Module):
    """A convolution that gives (B, H, W, C)."""

    def __init__(self, width):
        super().__init__()
        self.convolution = nn.Conv2d(1, width, 3, padding=1)

    def forward(self, image):
        return self.convolution(image).permute(0, 2, 3, 1)


class Mean(nn.Module):
    """The mean over places of (B, H, W, C)."""

    def forward(self, features):
        return features.mean(dim=(1, 2))


def pooled(width, classes=3):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


@pytest.fixture
def image():
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def same_weights():
    torch.manual_seed(0)


def test_the_heat_is_the_one_worked_out_by_hand(image):
    """After average pooling the gradient of a logit is weight / places, so the map is known in closed form."""
    model = Net([nn.Conv2d(1, 5, 3, stride=2, padding=1), nn.Tanh()], pooled(5)).eval()
    found = grad_cam(model, image)
    with torch.no_grad():
        features = model.blocks(image)
        predicted = model(image).argmax(1)
        weights = model.head[2].weight[predicted] / features[0, 0].numel()
        expected = torch.einsum("bc,bchw->bhw", weights, features).relu()[:, None]
        expected = nn.functional.interpolate(expected, size=(8, 8), mode="bilinear")[:, 0]
        expected = expected / expected.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(found, expected)
    assert found.shape == (4, 8, 8) and float(found.max()) == 1.0 and float(found.min()) >= 0


def test_a_change_in_place_after_the_block_does_not_change_its_map(image):
    blocks = [nn.Conv2d(1, 5, 3, padding=1)]
    plain = Net(blocks, nn.Sequential(nn.ReLU(), *pooled(5))).eval()
    inplace = Net(blocks, nn.Sequential(nn.ReLU(inplace=True), *list(plain.head)[1:])).eval()
    torch.testing.assert_close(grad_cam(plain, image), grad_cam(inplace, image))


def test_the_last_block_with_a_map_is_taken(image):
    convolutions = [nn.Conv2d(1, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)]
    head = nn.Linear(6, 3)
    longer = Net([*convolutions, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6))], head).eval()
    shorter = Net(convolutions, nn.Sequential(longer.blocks[2], head)).eval()
    torch.testing.assert_close(grad_cam(longer, image), grad_cam(shorter, image))


@pytest.mark.parametrize(("class_token", "first"), [(True, True), (True, False), (False, False)])
def test_tokens_are_laid_out_as_the_grid_of_patches(image, class_token, first):
    blocks = [Patches(6, class_token), Attention(), Attention()]
    assert grad_cam(Net(blocks, Pick(6, first)).eval(), image).shape == (4, 8, 8)


def test_a_patch_is_hot_where_it_lies(image):
    """Without attention a mean over patches has a known map: each patch's own share of the logit."""
    model = Net([Patches(6, class_token=False)], Pick(6, first=False)).eval()
    with torch.no_grad():
        tokens = model.blocks(image[:, :, :4])  # a picture of 4x8: 2x4 patches
        predicted = model(image[:, :, :4]).argmax(1)
        share = torch.einsum("bd,btd->bt", model.head.linear.weight[predicted], tokens).view(4, 2, 4).relu()
    found = grad_cam(model, image[:, :, :4])
    for heat, own in zip(found, share, strict=True):
        if float(own.max()) > 0:
            row, column = divmod(int(heat.argmax()), 8)
            assert float(own[row // 2, column // 2]) == pytest.approx(float(own.max()), rel=1e-4)


def test_channels_may_come_last(image):
    model = Net([ChannelsLast(5)], nn.Sequential(Mean(), nn.Linear(5, 3))).eval()
    first = Net([model.blocks[0].convolution], nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head[1]))
    torch.testing.assert_close(grad_cam(model, image), grad_cam(first.eval(), image))


def test_a_frozen_model_has_a_map_and_nothing_of_a_model_is_changed(image):
    model = Net([nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5)], pooled(5)).eval()
    expected = grad_cam(model, image)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.requires_grad_(False)
    torch.testing.assert_close(grad_cam(model, image), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_without_a_map_is_refused(image):
    flat = Net([nn.Flatten(), nn.Linear(64, 9)], nn.Linear(9, 3))
    with pytest.raises(ConfigError, match="no block of Net"):
        grad_cam(flat.eval(), image)
    with pytest.raises(ConfigError, match="tells its parts"):
        grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval(), image)
