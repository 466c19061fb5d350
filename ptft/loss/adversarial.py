"""Losses of a GAN (Goodfellow and others, arXiv 1406.2661) as sums: binary cross entropy.

The generator minimises `real_sum` of its images (the non-saturating form of section 3), not minus `fake_sum`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.loss.cast import at_least_float32


def real_sum(logits: Tensor) -> Tensor:
    """Return the sum of -log sigmoid(logit): small where images are held real.

    It is the discriminator's loss on real images and, being non-saturating, the generator's on its own.

    Args:
        logits: (B,) of the discriminator, above 0 for `real`.
    """
    logits = at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits), reduction="sum")


def fake_sum(logits: Tensor) -> Tensor:
    """Return the sum of -log(1 - sigmoid(logit)): the discriminator's loss on made images.

    Args:
        logits: (B,) of the discriminator, above 0 for `real`.
    """
    logits = at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits), reduction="sum")
