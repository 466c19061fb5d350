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
    height, width = image.shape[-2:]
    padded = F.pad(image, (padding,) * 4).contiguous()
    high, wide = padded.shape[-2:]
    # Each row of a window is `width` pixels in a row of memory. A view that begins anew at each pixel lets one
    # index_select copy them row by row: three times faster than gathering pixel by pixel.
    spans = padded.as_strided((padded.numel() - width + 1, width), (1, 1))
    corner = (offset[:, :1] * wide).add_(offset[:, 1:])  # (B, 1), within each padded plane
    planes = torch.arange(0, padded.numel(), high * wide, device=image.device).view(image.shape[:2])
    rows = torch.arange(0, height * wide, wide, device=image.device)
    return spans.index_select(0, ((planes + corner)[..., None] + rows).flatten()).view(image.shape)
