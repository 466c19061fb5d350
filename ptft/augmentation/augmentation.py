"""The contract of an augmentation, and the helper that gives floats where floats are needed.

An augmentation changes a whole batch at once, on the device the batch lies on. Its randomness is an integer hash of
(seed, epoch, index, name, slot), so that resuming, other workers or another number of ranks change nothing.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from ptft.runtime.random import Draws

Batch = dict[str, Any]
"""Tensors of the same first dimension B by name: `image` (B, C, H, W), not normalised; `label` and `index` (B,)."""


class Augmentation(Protocol):
    """Changes a batch at random before it is normalised.

    Images come as uint8 in [0, 255] or float32 in [0, 1] and leave as either; a step that only moves pixels keeps the
    type, as uint8 is four times smaller. The batch given is not changed. Draws of the same slot are the same, so a step
    uses another slot for each of its decisions; each step gets draws of its own.
    """

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its images changed."""
        ...


def to_float(image: Tensor) -> Tensor:
    """Return images as float32 in [0, 1]: uint8 divided by 255, floats as they are."""
    return image.to(torch.float32).div_(255) if image.dtype == torch.uint8 else image
