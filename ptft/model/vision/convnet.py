"""A small convolutional network for small images: the default for the bundled digits, quick on a CPU.

A 3x3 stem, then one 3x3 convolution a block with 2x2 pooling, and the average over what is left of the image.
Legend: B batch, C channels, H height, W width.
"""

from typing import Literal

from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.parts import Parts
from ptft.model.spec import ModelSpec, image_shape
from ptft.model.vision.layers import conv_block, initialise, pools
from ptft.types import DropRate, PositiveInt


class ConvNet(nn.Module):
    """A convolution, then blocks of one convolution and pooling, then a linear head (57 thousand parameters)."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        widths: tuple[PositiveInt, ...] = (32, 64, 64),
        norm: Literal["batch", "group", "none"] = "batch",
        dropout: DropRate = 0.0,
    ) -> None:
        """Build the network; weights as in `layers.initialise`.

        Args:
            spec: Shape of an image and number of classes.
            widths: Channels of the stem and of each block after it; the last is the width of the features.
            norm: What follows each convolution: `batch`, `group` or `none`.
            dropout: Share of features dropped before the head.

        Raises:
            ConfigError: `widths` is empty, or the examples are not images.
        """
        super().__init__()
        if not widths:
            raise ConfigError("model.widths=[] leaves no layer; give at least one width, such as [32,64,64]")
        channels, height, width = image_shape(spec)
        self.stem = conv_block(channels, widths[0], 1, norm, pool=False)
        self.blocks = nn.Sequential()
        steps = zip(widths[:-1], widths[1:], pools(height, width, len(widths) - 1), strict=True)
        for in_channels, out_channels, pool in steps:
            self.blocks.append(conv_block(in_channels, out_channels, 1, norm, pool=pool))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], spec.num_classes)
        initialise(self, self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (B, C, H, W) to logits (B, num_classes)."""
        features = self.pool(self.blocks(self.stem(image))).flatten(1)  # (B, widths[-1])
        logits: Tensor = self.head(self.dropout(features))
        return logits

    def parts(self) -> Parts:
        """Return the first convolution as stem and each convolution after it as a block."""
        return Parts(stem=("stem",), blocks=tuple((f"blocks.{i}",) for i in range(len(self.blocks))), head="head")
