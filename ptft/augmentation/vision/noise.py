"""Random noise on each pixel."""

from ptft.augmentation.augmentation import Batch, to_float
from ptft.runtime.random import Draws
from ptft.types import NonNegativeFloat


class GaussianNoise:
    """Adds normal noise to each value of an image and keeps it within [0, 1]."""

    def __init__(self, *, std: NonNegativeFloat = 0.05) -> None:
        """Keep the settings.

        Args:
            std: Standard deviation of the noise, where white is 1.
        """
        self.std = std

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with noise on its images, as float32 in [0, 1]."""
        image = to_float(batch["image"])
        noise = draws.normal(0, *image.shape[1:])
        return {**batch, "image": noise.mul_(self.std).add_(image).clamp_(0, 1)}
