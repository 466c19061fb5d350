"""Cutout (DeVries and Taylor, arXiv 1708.04552): a square of each image is blackened."""

import torch
from torch import Tensor

from ptft.augmentation.augmentation import Batch
from ptft.runtime.random import Draws
from ptft.types import UnitFloat


class Cutout:
    """Blackens a square around a random pixel, each image with a probability; squares may reach over the edge."""

    def __init__(self, *, size: UnitFloat = 0.25, probability: UnitFloat = 1.0) -> None:
        """Keep the settings.

        Args:
            size: Side of the square as a share of the image's shorter side; rounded to whole pixels.
            probability: How often an image is cut.
        """
        self.size = size
        self.probability = probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with squares cut out of its images."""
        image = batch["image"]
        height, width = image.shape[-2:]
        side = round(self.size * min(height, width))
        top = draws.integers(0, height) - side // 2
        left = draws.integers(1, width) - side // 2
        sides = torch.where(draws.uniform(2) < self.probability, side, 0)
        return {**batch, "image": cut(image, top, left, sides)}


def cut(image: Tensor, top: Tensor, left: Tensor, side: Tensor) -> Tensor:
    """Return images, (B, C, H, W), with 0 in the square of `side` pixels whose corner is at (top, left), (B,) each."""
    return image.masked_fill(within(image, top, left, side, side)[:, None], 0)


def within(image: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Return which pixels of images lie in the rectangle of each, (B, H, W) bool; it may reach over the edge.

    Args:
        image: (B, C, H, W).
        top: (B,) int64: the rectangle's first row; the other three likewise, in pixels.
        left: Its first column.
        height: Its rows.
        width: Its columns.
    """
    rows, columns = (torch.arange(length, device=image.device) for length in image.shape[-2:])
    in_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])  # (B, H)
    in_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])  # (B, W)
    return in_rows[:, :, None] & in_columns[:, None, :]
