"""Random erasing (Zhong and others, arXiv 1708.04896): a rectangle is filled with noise or with one colour."""

import math
from typing import Literal

import torch
from torch import Tensor

from ptft.augmentation.augmentation import Batch
from ptft.augmentation.vision.cutout import within
from ptft.errors import ConfigError
from ptft.runtime.random import Draws
from ptft.types import PositiveFloat, UnitFloat

TRIES = 10
"""Rectangles drawn for an image; when none of them fits into it, it is left as it is."""


class RandomErasing:
    """Fills a random rectangle of images, each with a probability."""

    def __init__(
        self,
        *,
        probability: UnitFloat = 0.5,
        scale_min: UnitFloat = 0.02,
        scale_max: UnitFloat = 0.33,
        ratio_min: PositiveFloat = 0.3,
        ratio_max: PositiveFloat = 3.3,
        fill: Literal["noise", "mean", "black"] = "noise",
    ) -> None:
        """Keep the settings.

        Args:
            probability: How often an image has a part erased.
            scale_min: Smallest area of a rectangle as a share of the image's.
            scale_max: Largest area of a rectangle.
            ratio_min: Smallest height / width of a rectangle.
            ratio_max: Largest height / width; their logarithm is drawn evenly.
            fill: `noise`: each value random in its whole range; `mean`: the mean colour of the image; `black`.

        Raises:
            ConfigError: A smallest value is above the largest.
        """
        for name, low, high in (("scale", scale_min, scale_max), ("ratio", ratio_min, ratio_max)):
            if low > high:
                raise ConfigError(f"{name}_min={low} is above {name}_max={high}; swap them")
        self.probability = probability
        self.scale_min = scale_min
        self.scale_max = scale_max
        self.ratio_min = ratio_min
        self.ratio_max = ratio_max
        self.fill = fill

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with parts of its images erased, of the same type."""
        image = batch["image"]
        erased = within(image, *self.rectangles(image, draws))[:, None]  # (B, 1, H, W)
        if self.fill == "black":
            return {**batch, "image": image.masked_fill(erased, 0)}
        return {**batch, "image": torch.where(erased, self._filling(image, draws), image)}

    def rectangles(self, image: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return top, left, height and width of what is erased, (B,) int64 each; a height of 0: nothing."""
        height, width = image.shape[-2:]
        area = draws.uniform(1, TRIES, low=self.scale_min * height * width, high=self.scale_max * height * width)
        ratio = draws.uniform(2, TRIES, low=math.log(self.ratio_min), high=math.log(self.ratio_max)).exp_()
        high, wide = (area * ratio).sqrt_().round_().long(), (area / ratio).sqrt_().round_().long()
        fits = (high < height) & (wide < width)
        first = fits.int().argmax(1, keepdim=True)  # the first that fits; 0 where none does
        high, wide = high.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
        position = draws.integers(3, 1 << 31, 2)  # (B, 2) in [0, 2**31)
        top, left = position[:, 0].mul(height - high + 1) >> 31, position[:, 1].mul(width - wide + 1) >> 31
        chosen = fits.any(1) & (draws.uniform(0) < self.probability)
        return top, left, high * chosen, wide

    def _filling(self, image: Tensor, draws: Draws) -> Tensor:
        bytes_wanted = image.dtype == torch.uint8
        if self.fill == "mean":
            mean = image.to(torch.float32).mean((2, 3), keepdim=True)
            return mean.round_().to(torch.uint8) if bytes_wanted else mean
        values = image[0].numel()
        noise = draws.bits(4, -(-values // 8)).view(torch.uint8)[:, :values].view(image.shape)  # eight bytes a hash
        return noise if bytes_wanted else noise.to(torch.float32).div_(255)
