"""Random crops of padded images: the shift by a few pixels of He et al. (arXiv 1512.03385, section 4.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.augmentation.augmentation import Batch
from ptft.runtime.random import Draws
from ptft.types import NonNegativeInt


class RandomCrop:
    """Pads each image on all sides and cuts a window of the old size out at random."""

    def __init__(self, *, padding: NonNegativeInt = 2) -> None:
        """Keep the settings.

        Args:
            padding: Black pixels added on each side; 0 changes nothing.
        """
        self.padding = padding

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its images shifted by at most `padding` pixels each way."""
        if self.padding == 0:
            return batch
        offset = draws.integers(0, 2 * self.padding + 1, 2)
        return {**batch, "image": crop(batch["image"], offset, self.padding)}


def crop(image: Tensor, offset: Tensor, padding: int) -> Tensor:
    """Return windows of padded images.

    Args:
        image: (B, C, H, W) of any type.
        offset: (B, 2) int64 in [0, 2 * padding]: row and column of the window's corner; `padding` is the middle.
        padding: Pixels of 0 added on each side.
    """
    channels, height, width = image.shape[1:]
    padded = F.pad(image, (padding,) * 4)
    wide = width + 2 * padding
    corner = (offset[:, :1] * wide).add_(offset[:, 1:])  # (B, 1), in the flattened padded image
    rows = torch.arange(height, device=image.device) * wide
    window = (rows[:, None] + torch.arange(width, device=image.device)).flatten()
    places = corner + window  # (B, H * W)
    if channels > 1:
        places = places[:, None].expand(-1, channels, -1)
        return padded.flatten(2).gather(2, places).view(image.shape)
    return padded.flatten(1).gather(1, places).view(image.shape)
