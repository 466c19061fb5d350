"""Random brightness and contrast, as torchvision defines them."""

from torch import Tensor

from ptft.augmentation.augmentation import Batch, to_float
from ptft.augmentation.vision.colour import adjust_brightness, adjust_contrast
from ptft.runtime.random import Draws
from ptft.types import UnitFloat


class RandomIntensity:
    """Changes brightness, then contrast, of each image by random factors."""

    def __init__(self, *, brightness: UnitFloat = 0.3, contrast: UnitFloat = 0.3) -> None:
        """Keep the settings.

        Args:
            brightness: Factors are drawn from [1 - brightness, 1 + brightness]; 0: brightness stays.
            contrast: The same for the contrast.
        """
        self.brightness = brightness
        self.contrast = contrast

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its intensities changed, as float32 in [0, 1]."""
        brightness = draws.uniform(0, low=1 - self.brightness, high=1 + self.brightness)
        contrast = draws.uniform(1, low=1 - self.contrast, high=1 + self.contrast)
        return {**batch, "image": intensity(to_float(batch["image"]), brightness, contrast)}


def intensity(image: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Return images times their brightness, then drawn away from their mean grey by their contrast, within [0, 1].

    Args:
        image: (B, C, H, W) float32 in [0, 1], with C 1 (grey) or 3 (red, green, blue).
        brightness: (B,) factors; 0 is black.
        contrast: (B,) factors; 0 is the mean grey everywhere.
    """
    return adjust_contrast(adjust_brightness(image, brightness), contrast)
