"""Residual networks of basic blocks, ResNet-18 and 34 (He et al., arXiv 1512.03385), with a stem for small images.

Parameter names and, with ImageNet's stem, every value computed are those of torchvision's `resnet18` and `resnet34`,
so that their weights load as they are. Bottleneck blocks (ResNet-50 and deeper) are left out.
Legend: B batch, C channels, H height, W width.
"""

from typing import Literal

from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.parts import Parts
from ptft.model.spec import ModelSpec, image_shape
from ptft.types import PositiveInt

IMAGENET_SIDE = 64
"""Pixels of the shorter side from which `stem=auto` takes ImageNet's stem: its last layer then sees 2x2 and more."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        """Build the block; a 1x1 convolution brings the input to the new shape where it must change."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, H / stride, W / stride), rounded up."""
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        shortcut = features if self.downsample is None else self.downsample(features)
        output: Tensor = self.relu(residual + shortcut)
        return output


class ResNet(nn.Module):
    """A residual network in four layers of blocks; each layer after the first halves the image."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        blocks: tuple[PositiveInt, ...] = (2, 2, 2, 2),
        widths: tuple[PositiveInt, ...] = (64, 128, 256, 512),
        stem: Literal["auto", "small", "imagenet"] = "auto",
        zero_init_residual: bool = False,
    ) -> None:
        """Build the network. Convolutions: He normal by fan-out; norms 1 and 0; head: uniform within 1/sqrt(fan-in).

        Args:
            spec: Shape of an image and number of classes.
            blocks: Basic blocks of each layer; [2,2,2,2] is ResNet-18, [3,4,6,3] ResNet-34.
            widths: Channels of each layer; as many as `blocks`.
            stem: `small`: one 3x3 convolution (section 4.2 of the paper); `imagenet`: 7x7, stride 2, and 3x3 pooling,
                as in all weights trained on ImageNet; `auto`: `imagenet` for pictures of `IMAGENET_SIDE` and more.
            zero_init_residual: Start each block as the identity: the scale of its last norm is 0 (arXiv 1706.02677).

        Raises:
            ConfigError: `blocks` and `widths` differ in length, or the examples are not images.
        """
        super().__init__()
        if len(blocks) != len(widths) or not blocks:
            raise ConfigError(
                f"model.blocks={list(blocks)} and model.widths={list(widths)} must name the same number of layers, "
                "at least one"
            )
        channels, height, width = image_shape(spec)
        imagenet = stem == "imagenet" or (stem == "auto" and min(height, width) >= IMAGENET_SIDE)
        if imagenet:
            self.conv1 = nn.Conv2d(channels, widths[0], 7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if imagenet else nn.Identity()
        self.layers = [f"layer{number}" for number in range(1, len(blocks) + 1)]
        channels = widths[0]
        for name, num_blocks, width in zip(self.layers, blocks, widths, strict=True):
            first = BasicBlock(channels, width, stride=1 if name == "layer1" else 2)
            self.add_module(name, nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(num_blocks - 1))))
            channels = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, spec.num_classes)
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock) and zero_init_residual:
                nn.init.zeros_(module.bn2.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (B, C, H, W) to logits (B, num_classes)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for name in self.layers:
            features = self.get_submodule(name)(features)
        features = self.avgpool(features).flatten(1)  # (B, widths[-1])
        logits: Tensor = self.fc(features)
        return logits

    def parts(self) -> Parts:
        """Return the first convolution and its norm as stem, and each residual block as a block."""
        blocks = [(f"{name}.{i}",) for name in self.layers for i, _ in enumerate(self.get_submodule(name).children())]
        return Parts(stem=("conv1", "bn1"), blocks=tuple(blocks), head="fc")
