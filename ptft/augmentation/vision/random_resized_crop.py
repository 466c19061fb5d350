"""Random resized crops (Szegedy and others, Going Deeper with Convolutions, arXiv 1409.4842, section 6).

A window of random area and random aspect ratio is cut out of each picture and resized. Windows are whole pixels, drawn
as torchvision's RandomResizedCrop draws them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.augmentation.augmentation import Batch
from ptft.augmentation.vision.pieces import in_pieces
from ptft.errors import ConfigError
from ptft.runtime.random import Draws
from ptft.types import PositiveFloat, PositiveShare

TRIES = 10
"""Windows drawn for a picture; when none of them fits into it, the middle of the picture is taken."""


class RandomResizedCrop:
    """Cuts a random window out of each picture and resizes it.

    As the first step of the augmentation of a folder, only `windows` is called: the window is cut out of the picture as
    decoded and resized once, to the side that the model sees. Otherwise the batch's images are cut and resized back to
    the size they have.
    """

    def __init__(
        self,
        *,
        scale_min: PositiveShare = 0.08,
        scale_max: PositiveShare = 1.0,
        ratio_min: PositiveFloat = 0.75,
        ratio_max: PositiveFloat = 1.3333333333,
    ) -> None:
        """Keep the settings.

        Args:
            scale_min: Smallest area of a window as a share of the picture's.
            scale_max: Largest area of a window.
            ratio_min: Smallest width / height of a window, before it is resized.
            ratio_max: Largest width / height; their logarithm is drawn evenly.

        Raises:
            ConfigError: A smallest value is above the largest.
        """
        for name, low, high in (("scale", scale_min, scale_max), ("ratio", ratio_min, ratio_max)):
            if low > high:
                raise ConfigError(f"{name}_min={low} is above {name}_max={high}; swap them")
        self.scale_min = scale_min
        self.scale_max = scale_max
        self.ratio_min = ratio_min
        self.ratio_max = ratio_max

    def windows(self, size: Tensor, draws: Draws) -> Tensor:
        """Return a window within each picture: (B, 4) float32 of whole pixels, (top, left, height, width).

        Args:
            size: (B, 2) int64: height and width of each picture, in pixels.
            draws: Draws of the B examples.
        """
        height, width = size[:, 0], size[:, 1]
        share = draws.uniform(0, TRIES, low=self.scale_min, high=self.scale_max)
        area = share * (height * width)[:, None]
        ratio = draws.uniform(1, TRIES, low=math.log(self.ratio_min), high=math.log(self.ratio_max)).exp_()
        high = (area / ratio).sqrt_().round_().long()  # (B, TRIES)
        wide = (area * ratio).sqrt_().round_().long()
        fits = (high > 0) & (high <= height[:, None]) & (wide > 0) & (wide <= width[:, None])
        first = fits.int().argmax(1, keepdim=True)  # the first that fits; 0 where none does
        high, wide = high.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
        position = draws.integers(2, 1 << 31, 2)  # (B, 2) in [0, 2**31)
        top = position[:, 0].mul(height - high + 1) >> 31
        left = position[:, 1].mul(width - wide + 1) >> 31
        found = torch.stack([top, left, high, wide], 1)
        return torch.where(fits.any(1, keepdim=True), found, self._middle(size)).float()

    def _middle(self, size: Tensor) -> Tensor:
        """Return the largest window about the middle whose aspect ratio is allowed: (B, 4) int64."""
        height, width = size[:, 0], size[:, 1]
        high = torch.minimum(height, (width / self.ratio_min).round().long()).clamp_(min=1)
        wide = torch.minimum(width, (height * self.ratio_max).round().long()).clamp_(min=1)
        return torch.stack([(height - high) // 2, (width - wide) // 2, high, wide], 1)

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with a window of each image resized to the image's size, of the same type."""
        image = batch["image"]
        size = torch.tensor(image.shape[-2:], device=image.device).expand(len(image), 2)
        return {**batch, "image": in_pieces(cut_and_resize, image, self.windows(size, draws))}


def cut_and_resize(image: Tensor, window: Tensor) -> Tensor:
    """Return windows of images, resized to the images' own size by bilinear sampling; bytes are rounded.

    No window is larger than its image, so that nothing is made smaller and nothing can alias.

    Args:
        image: (B, C, H, W) uint8 or float32.
        window: (B, 4) float32: top, left, height, width in pixels.
    """
    height, width = image.shape[-2:]
    y = _places(window[:, 0], window[:, 2], height)  # (B, H)
    x = _places(window[:, 1], window[:, 3], width)  # (B, W)
    grid = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], 3)  # (B, H, W, 2)
    pixels = image.to(torch.float32)
    moved = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.round_().to(torch.uint8) if image.dtype == torch.uint8 else moved


def _places(start: Tensor, length: Tensor, side: int) -> Tensor:
    """Return where along a side of `side` pixels the `side` samples of a window lie, (B, side) in torch's [-1, 1]."""
    centres = torch.arange(side, device=start.device, dtype=torch.float32).add_(0.5).div_(side)
    place = centres * length[:, None] - 0.5
    # Clamped to the window's outermost pixels, as if it had been cut out before.
    place = torch.minimum(place.clamp_(min=0), length[:, None] - 1) + start[:, None]
    return place.mul_(2).add_(1).div_(side).sub_(1)
