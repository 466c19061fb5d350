"""Brightness, contrast, saturation, hue and grey of whole batches, each image by a factor of its own.

Defined as in torchvision.transforms.v2.functional. Images are (B, C, H, W) float32 in [0, 1] with C 1 (grey) or 3 (red,
green, blue), factors (B,); what has no colour keeps its saturation and hue.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""How much red, green and blue make up grey: the luma of ITU-R BT.601, as torchvision rounds it."""


def to_grey(image: Tensor) -> Tensor:
    """Return the luma of images, (B, 1, H, W); of grey images themselves."""
    if image.shape[1] != 3:
        return image
    red, green, blue = image.unbind(1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])[:, None]


def adjust_brightness(image: Tensor, factor: Tensor) -> Tensor:
    """Return images times their factors, within [0, 1]; 0 is black."""
    return (image * _per_image(factor)).clamp_(0, 1)


def adjust_contrast(image: Tensor, factor: Tensor) -> Tensor:
    """Return images drawn away from their mean grey by their factors, within [0, 1]; 0 is that grey everywhere."""
    mean = to_grey(image).mean((1, 2, 3), keepdim=True)
    return (image - mean).mul_(_per_image(factor)).add_(mean).clamp_(0, 1)


def adjust_saturation(image: Tensor, factor: Tensor) -> Tensor:
    """Return images drawn away from their own grey by their factors, within [0, 1]; 0 is without colour."""
    if image.shape[1] != 3:
        return image
    grey = to_grey(image)
    return (image - grey).mul_(_per_image(factor)).add_(grey).clamp_(0, 1)


def adjust_hue(image: Tensor, shift: Tensor) -> Tensor:
    """Return images with their hues turned by `shift`, (B,), in turns of the colour circle.

    A colour of hue h in [0, 6), whose strongest channel is V and whose weakest is V - D, has the channels
    V - D * (1 - clamp(|h - 3| - 1)), V - D * clamp(|h - 2| - 1) and V - D * clamp(|h - 4| - 1), clamped to [0, 1].
    """
    if image.shape[1] != 3:
        return image
    red, green, blue = image.unbind(1)  # (B, H, W) each
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    # In which third of the circle a colour lies depends on its strongest channel; a grey has the difference 0.
    is_red, is_green = value == red, value == green
    difference = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    hue = difference.div_(spread.clamp(min=1e-12)).add_(torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0)))
    hue.add_(shift[:, None, None], alpha=6)
    hue.sub_((hue * (1 / 6)).floor_(), alpha=6)  # modulo 6, four times faster than remainder
    moved = torch.empty_like(image)
    for channel, centre in enumerate((3, 2, 4)):
        away = (hue - centre).abs_().sub_(1).clamp_(0, 1)
        if channel == 0:
            away.neg_().add_(1)
        torch.addcmul(value, away, spread, value=-1, out=moved[:, channel])
    return moved


def _per_image(factor: Tensor) -> Tensor:
    return factor[:, None, None, None]
