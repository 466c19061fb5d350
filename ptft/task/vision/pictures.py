"""Pictures that a task shows after an evaluation."""

import math

import torch
from torch import Tensor

from ptft.data.data_module import DataSpec


def grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Return images (N, C, H, W) as one picture (3, height, width), row by row, with a grey line between them.

    Channels other than 1 or 3 are averaged to grey; without `columns` the picture is about as high as it is wide.
    """
    from torchvision.utils import make_grid

    images = images if images.shape[1] in (1, 3) else images.mean(dim=1, keepdim=True)
    columns = columns or math.ceil(math.sqrt(len(images)))
    picture: Tensor = make_grid(images, nrow=columns, padding=1, pad_value=0.5)
    return picture


def unnormalised(image: Tensor, spec: DataSpec) -> Tensor:
    """Return normalised images (B, C, H, W) as they were before, in [0, 1], as float32 on the CPU."""
    channels = spec.shape[0]
    mean, std = torch.tensor(spec.mean or (0.0,) * channels), torch.tensor(spec.std or (1.0,) * channels)
    return (image.float().cpu() * std.view(-1, 1, 1) + mean.view(-1, 1, 1)).clamp(0, 1)
