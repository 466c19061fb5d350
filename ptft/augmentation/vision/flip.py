"""Random mirroring, left to right."""

import torch
from torch import Tensor

from ptft.augmentation.augmentation import Batch
from ptft.runtime.random import Draws
from ptft.types import UnitFloat

LARGE = 1 << 14
"""Values of an image from which on the CPU mirrors them one by one: 64 of 224x224 in 3 ms, not in 13."""


class RandomFlip:
    """Mirrors images left to right, each with a probability."""

    def __init__(self, *, probability: UnitFloat = 0.5) -> None:
        """Keep the settings.

        Args:
            probability: How often an image is mirrored.
        """
        self.probability = probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with some of its images mirrored."""
        return {**batch, "image": flip(batch["image"], draws.uniform(0) < self.probability)}


def flip(image: Tensor, mirrored: Tensor) -> Tensor:
    """Return images, (B, C, H, W) of any type, mirrored left to right where `mirrored`, (B,) bool, says so."""
    if image.device.type == "cpu" and len(image) and image[0].numel() >= LARGE:
        moved = torch.empty_like(image)  # with channels last where they are
        for old, new, turned in zip(image, moved, mirrored.tolist(), strict=True):
            new.copy_(old.flip(-1) if turned else old)
        return moved
    # Choosing whole images out of both batches is three times faster than torch.where, which goes pixel by pixel.
    both = torch.cat([image, image.flip(-1)])
    return both.index_select(0, torch.arange(len(image), device=image.device).add_(mirrored * len(image)))
