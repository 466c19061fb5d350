"""Random Gaussian blur, as in SimCLR (arXiv 2002.05709, appendix A)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.augmentation.augmentation import Batch, to_float
from ptft.augmentation.vision.pieces import in_pieces
from ptft.errors import ConfigError
from ptft.runtime.random import Draws
from ptft.types import PositiveFloat, UnitFloat


class GaussianBlur:
    """Blurs images, each with a probability and by a standard deviation of its own."""

    def __init__(
        self,
        *,
        probability: UnitFloat = 0.5,
        sigma_min: PositiveFloat = 0.1,
        sigma_max: PositiveFloat = 2.0,
        size: UnitFloat = 0.1,
    ) -> None:
        """Keep the settings.

        Args:
            probability: How often an image is blurred.
            sigma_min: Smallest standard deviation, in pixels.
            sigma_max: Largest standard deviation.
            size: Width of the kernel as a share of the image's shorter side; it is one pixel to each side at least.

        Raises:
            ConfigError: `sigma_min` is above `sigma_max`.
        """
        if sigma_min > sigma_max:
            raise ConfigError(f"sigma_min={sigma_min} is above sigma_max={sigma_max}; swap them")
        self.probability = probability
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.size = size

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with some of its images blurred, as float32 in [0, 1]."""
        image = to_float(batch["image"])
        side = min(image.shape[-2:])
        radius = min(max(1, round(side * self.size / 2)), side - 1)
        # The one place that waits for a device: blurring takes much longer than counting who is blurred.
        rows = (draws.uniform(0) < self.probability).nonzero()[:, 0]
        sigma = draws.uniform(1, low=self.sigma_min, high=self.sigma_max)[rows]
        blurred = in_pieces(partial(blur, radius=radius), image.index_select(0, rows), sigma)
        return {**batch, "image": image.index_copy(0, rows, blurred)}


def blur(image: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Return images blurred by a Gaussian kernel, mirrored at their edges.

    Args:
        image: (B, C, H, W) float32.
        sigma: (B,) standard deviations in pixels.
        radius: Pixels to each side that the kernel takes in; below both sides of the image.
    """
    distance = torch.arange(-radius, radius + 1, device=image.device)
    kernel = (distance / sigma[:, None]).square_().mul_(-0.5).softmax(1)  # (B, 2 * radius + 1), the sum is 1
    for dimension, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        padded = F.pad(image, padding, mode="reflect")
        image = torch.zeros_like(image)
        # Adding shifted images is as fast here as a convolution by groups, and the same however the batch is cut.
        for place in range(2 * radius + 1):
            shifted = padded.narrow(dimension, place, image.shape[dimension])
            image.addcmul_(shifted, kernel[:, place, None, None, None])
    return image
