"""Vision transformer (Dosovitskiy and others, arXiv 2010.11929) with the parameter names of torchvision's.

An image becomes a row of patch tokens behind a class token; the encoder's layers are torchvision's own. Beside it: any
number of channels, images that need not be square, features from the mean of the patches, and an encoder that runs on
some of the patches only, as masked autoencoders need. Weights of torchvision's files fit, whatever the images' size.
Legend: B batch, C channels, H height, W width, P side of a patch, N patches, M some of them, D width.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.vision_transformer import Encoder

from ptft.errors import ConfigError
from ptft.model.parts import Parts
from ptft.model.spec import ModelSpec, image_shape
from ptft.model.vision.attention import attention_for
from ptft.model.vision.patches import patch_rows_and_columns, sine_positions
from ptft.types import DropRate, PositiveInt

POSITIONS = "encoder.pos_embedding"
"""Name of the learned positions: (1, 1 + N, D), the class token's first."""
OLD_NAMES = {"mlp.linear_1.": "mlp.0.", "mlp.linear_2.": "mlp.3."}
"""How torchvision's files of ViT-B/16 call the layers that its code now numbers."""


class VisionTransformer(nn.Module):
    """A vision transformer; the defaults are ViT-B/16 (86.6 million parameters with 1,000 classes)."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        patch_size: PositiveInt = 16,
        depth: PositiveInt = 12,
        heads: PositiveInt = 12,
        width: PositiveInt = 768,
        mlp: PositiveInt = 3072,
        dropout: DropRate = 0.0,
        pool: Literal["token", "mean"] = "token",
        positions: Literal["random", "sine"] = "random",
    ) -> None:
        """Build the network; weights as torchvision draws them, but for the head: N(0, 0.01).

        Args:
            spec: Shape of an image and number of classes.
            patch_size: Side of a patch in pixels; divides both sides of an image.
            depth: Encoder layers.
            heads: Attention heads of a layer; divides `width`.
            width: Width of a token.
            mlp: Hidden width of a layer's perceptron.
            dropout: Share of numbers dropped after the positions are added and after each half of a layer.
            pool: What the head sees: the class token, or the mean of the patch tokens.
            positions: Where the learned positions start: N(0, 0.02), or sines of rows and columns.

        Raises:
            ConfigError: `patch_size` does not divide the image or `heads` the width, or the examples are not images.
        """
        super().__init__()
        if width % heads:
            raise ConfigError(f"model.width={width} is not divisible by model.heads={heads}; each head takes its share")
        channels = image_shape(spec)[0]
        self.grid = patch_rows_and_columns(spec, patch_size)
        self.patch_size = patch_size
        self.pool = pool
        self.conv_proj = nn.Conv2d(channels, width, kernel_size=patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        num_patches = self.grid[0] * self.grid[1]
        self.encoder = Encoder(1 + num_patches, depth, heads, width, mlp, dropout, attention_dropout=0.0)
        head = nn.Linear(width, spec.num_classes)
        self.heads = nn.Sequential(OrderedDict(head=head))
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / (channels * patch_size**2)))
        if self.conv_proj.bias is not None:
            nn.init.zeros_(self.conv_proj.bias)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        if positions == "sine":
            with torch.no_grad():
                self.encoder.pos_embedding[:, 1:] = sine_positions(*self.grid, width)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (B, C, H, W) to logits (B, num_classes)."""
        logits: Tensor = self.heads(self.features(self.encode(self.embed(image))))
        return logits

    def embed(self, image: Tensor) -> Tensor:
        """Map images (B, C, H, W) to their patches as tokens with positions added: (B, N, D)."""
        tokens: Tensor = self.conv_proj(image).flatten(2).transpose(1, 2)  # (B, N, D)
        tokens = tokens + self.encoder.pos_embedding[:, 1:]
        return tokens

    def encode(self, tokens: Tensor) -> Tensor:
        """Run the encoder on all or some tokens of `embed`, (B, M, D), behind the class token: (B, 1 + M, D)."""
        first = (self.class_token + self.encoder.pos_embedding[:, :1]).expand(len(tokens), -1, -1)
        row = self.encoder.dropout(torch.cat([first, tokens], dim=1))
        with attention_for(row.shape[1], row.device.type):
            encoded: Tensor = self.encoder.ln(self.encoder.layers(row))
        return encoded

    def features(self, encoded: Tensor) -> Tensor:
        """Return what the head sees of encoded tokens (B, 1 + M, D): (B, D)."""
        return encoded[:, 0] if self.pool == "token" else encoded[:, 1:].mean(dim=1)

    def parts(self) -> Parts:
        """Return what makes tokens as stem, each layer as a block, the final norm with the last, and the head."""
        *blocks, last = [(f"encoder.layers.{name}",) for name, _ in self.encoder.layers.named_children()]
        stem = ("conv_proj", "class_token", POSITIONS)
        return Parts(stem=stem, blocks=(*blocks, (*last, "encoder.ln")), head="heads.head")

    def adapt_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of another size of images or an older torchvision as this network names and shapes them.

        Positions of another grid are resized by bicubic interpolation (arXiv 2010.11929, section 3.2); the class
        token's is kept. Both grids must be square, as a row of positions does not tell its own.

        Args:
            tensors: Weights by this network's names; not changed.
        """
        renamed = {}
        for name, value in tensors.items():
            for old, new in OLD_NAMES.items():
                name = name.replace(old, new)
            renamed[name] = value
        given, own = renamed.get(POSITIONS), self.encoder.pos_embedding
        if given is not None and given.ndim == 3 and given.shape[1] != own.shape[1] and given.shape[2] == own.shape[2]:
            renamed[POSITIONS] = resized_positions(given, self.grid)
        return renamed


def resized_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return positions (1, 1 + S * S, D) of a square grid for another, (rows, columns): (1, 1 + rows * columns, D).

    They are returned as they are where the old grid is not square.
    """
    side = math.isqrt(positions.shape[1] - 1)
    if side * side != positions.shape[1] - 1 or side == 0:
        return positions
    patches = positions[:, 1:].float().transpose(1, 2).reshape(1, -1, side, side)  # (1, D, S, S)
    patches = F.interpolate(patches, size=grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([positions[:, :1], patches.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)
