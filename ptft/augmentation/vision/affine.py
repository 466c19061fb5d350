"""Random rotation, scale and shift in one bilinear resampling."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.augmentation.augmentation import Batch, to_float
from ptft.errors import ConfigError
from ptft.runtime.random import Draws
from ptft.types import NonNegativeFloat, PositiveFloat, UnitFloat


class RandomAffine:
    """Rotates, scales and shifts each image about its centre; what comes in from outside is black."""

    def __init__(
        self,
        *,
        degrees: NonNegativeFloat = 20.0,
        scale_min: PositiveFloat = 0.75,
        scale_max: PositiveFloat = 1.25,
        shift: UnitFloat = 0.12,
    ) -> None:
        """Keep the settings.

        Args:
            degrees: Largest angle of rotation, either way.
            scale_min: Smallest factor of size; below 1 the picture shrinks.
            scale_max: Largest factor of size.
            shift: Largest shift each way, as a share of the image's side.

        Raises:
            ConfigError: `scale_min` is above `scale_max`.
        """
        if scale_min > scale_max:
            raise ConfigError(f"scale_min={scale_min} is above scale_max={scale_max}; swap them")
        self.degrees = degrees
        self.scale_min = scale_min
        self.scale_max = scale_max
        self.shift = shift

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its images moved, as float32 in [0, 1]."""
        radians = math.radians(self.degrees)
        angle = draws.uniform(0, low=-radians, high=radians)
        scale = draws.uniform(1, low=self.scale_min, high=self.scale_max)
        shift = draws.uniform(2, 2, low=-self.shift, high=self.shift)
        return {**batch, "image": affine(to_float(batch["image"]), angle, scale, shift)}


def affine(image: Tensor, angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return images rotated and scaled about their centres, then shifted, by bilinear sampling with zeros outside.

    Args:
        image: (B, C, H, W) float32.
        angle: (B,) radians, anticlockwise as seen on a screen.
        scale: (B,) factors of size.
        shift: (B, 2) to the right and downwards, as shares of width and height.
    """
    height, width = image.shape[-2:]
    # Half sides as the unit: torch's grids run from -1 to 1 over the image, whatever its shape.
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    ratio = height / width
    # The grid tells where each output pixel comes from: undo the shift, then the rotation and the scale.
    right, down = 2 * shift[:, 0], 2 * shift[:, 1]
    first = torch.stack([cosine, -sine * ratio, -(cosine * right - sine * ratio * down)], 1)
    second = torch.stack([sine / ratio, cosine, -(sine / ratio * right + cosine * down)], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
