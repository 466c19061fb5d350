"""Posterize, solarize, auto-contrast, equalize and sharpness on whole batches of bytes, each image by its own strength.

Defined as in torchvision.transforms.v2.functional, which follows Pillow. Images are (B, C, H, W) uint8.
"""

import torch
from torch import Tensor


def posterize(image: Tensor, bits: Tensor) -> Tensor:
    """Return images that keep only the highest `bits`, (B,) int64 in [0, 8], of each value."""
    mask = (256 - (1 << (8 - bits))).to(torch.uint8)
    return image & mask[:, None, None, None]


def solarize(image: Tensor, threshold: Tensor) -> Tensor:
    """Return images whose values from `threshold`, (B,) in [0, 256], upwards are inverted."""
    first = threshold.ceil().to(torch.int16)[:, None, None, None]  # as floats five times as slow
    return image ^ (image >= first).to(torch.uint8).mul_(255)


def auto_contrast(image: Tensor) -> Tensor:
    """Return images whose channels are each stretched over the whole range; a channel of one value stays."""
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    span = (high - low).float()
    factor, start = torch.where(span > 0, 255 / span.clamp(min=1), 1.0), torch.where(span > 0, low, 0)
    return (image - start).float().mul_(factor).round_().to(torch.uint8)


def equalize(image: Tensor) -> Tensor:
    """Return images whose channels each have as even a histogram as a table of values can give."""
    planes = image.flatten(2).flatten(0, 1).long()  # (B * C, H * W)
    counts = torch.zeros(len(planes), 256, dtype=torch.int64, device=image.device)
    counts.scatter_add_(1, planes, torch.ones((), dtype=torch.int64, device=image.device).expand_as(planes))
    last = 255 - (counts.flip(1) > 0).int().argmax(1, keepdim=True)  # the largest value that occurs
    step = (planes.shape[1] - counts.gather(1, last)) // 255
    table = (counts.cumsum(1) - counts + step // 2) // step.clamp(min=1)  # from the counts of all smaller values
    table = torch.where(step > 0, table.clamp_(max=255), torch.arange(256, device=image.device))
    return table.to(torch.uint8).gather(1, planes).view(image.shape)


def adjust_sharpness(image: Tensor, factor: Tensor) -> Tensor:
    """Return images drawn away from their smoothed selves by their factors, (B,); 0 is smooth, 1 changes nothing.

    The outermost pixels are not smoothed; images with a side below 3 have no others.
    """
    if min(image.shape[-2:]) < 3:
        return image
    pixels = image.float()
    # Smoothed with the 3x3 kernel whose middle weighs 5 and whose rest weighs 1: sums of rows, then of columns.
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    smooth = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inside = pixels[:, :, 1:-1, 1:-1]
    smooth = smooth.add_(inside, alpha=4).div_(13).round_()
    inside.add_(smooth.sub_(inside).mul_(1 - factor[:, None, None, None]))
    return pixels.clamp_(0, 255).round_().to(torch.uint8)
