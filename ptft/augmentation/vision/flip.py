"""Random mirroring, left to right."""

import torch

from ptft.augmentation.augmentation import Batch
from ptft.runtime.random import Draws
from ptft.types import UnitFloat


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
        image = batch["image"]
        mirrored = draws.uniform(0) < self.probability
        return {**batch, "image": torch.where(mirrored[:, None, None, None], image.flip(-1), image)}
