"""VGG: blocks of 3x3 convolutions with pooling between them (Simonyan and Zisserman, arXiv 1409.1556).

Unlike the paper: normalisation after each convolution, global average pooling in place of a fixed 7x7 map (so any image
size fits), and pooling only while the image is at least 2 pixels wide and high. Legend: B batch, C, H, W.
"""

from typing import Literal

from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.parts import Parts
from ptft.model.spec import ModelSpec, image_shape
from ptft.model.vision.layers import conv_block, initialise, pools
from ptft.types import DropRate, PositiveInt


class VGG(nn.Module):
    """VGG of any widths and depths; the defaults are VGG-11 (28 million parameters on 28x28 images)."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        widths: tuple[PositiveInt, ...] = (64, 128, 256, 512, 512),
        depths: tuple[PositiveInt, ...] = (1, 1, 2, 2, 2),
        norm: Literal["batch", "group", "none"] = "batch",
        hidden: tuple[PositiveInt, ...] = (4096, 4096),
        dropout: DropRate = 0.5,
    ) -> None:
        """Build the network; weights as in `layers.initialise`.

        Args:
            spec: Shape of an image and number of classes.
            widths: Channels of each block.
            depths: Convolutions in each block; as many as `widths`.
            norm: What follows each convolution: `batch`, `group` or `none`.
            hidden: Widths of the fully connected layers; empty leaves them out.
            dropout: Share of features dropped after each fully connected layer, or before the head if there is none.

        Raises:
            ConfigError: `widths` and `depths` differ in length, or the examples are not images.
        """
        super().__init__()
        if len(widths) != len(depths) or not widths:
            raise ConfigError(
                f"model.widths={list(widths)} and model.depths={list(depths)} must name the same number of blocks, "
                "at least one"
            )
        channels, height, width = image_shape(spec)
        self.blocks = nn.Sequential()
        for out_channels, depth, pool in zip(widths, depths, pools(height, width, len(widths)), strict=True):
            self.blocks.append(conv_block(channels, out_channels, depth, norm, pool=pool))
            channels = out_channels
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Sequential()
        for features in hidden:
            layer = nn.Sequential(nn.Linear(channels, features), nn.ReLU(inplace=True), nn.Dropout(dropout))
            self.hidden.append(layer)
            channels = features
        if not hidden:
            self.hidden.append(nn.Dropout(dropout))
        self.head = nn.Linear(channels, spec.num_classes)
        initialise(self, self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (B, C, H, W) to logits (B, num_classes)."""
        features = self.pool(self.blocks(image)).flatten(1)  # (B, widths[-1])
        logits: Tensor = self.head(self.hidden(features))
        return logits

    def parts(self) -> Parts:
        """Return each convolution block and each fully connected layer as a block; there is no stem."""
        hidden = [(f"hidden.{i}",) for i, layer in enumerate(self.hidden) if isinstance(layer, nn.Sequential)]
        blocks = [(f"blocks.{i}",) for i in range(len(self.blocks))]
        return Parts(stem=(), blocks=(*blocks, *hidden), head="head")
