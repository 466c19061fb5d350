"""Cross entropy as a sum over the batch, so that accumulated and distributed steps divide by one count."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.loss.cast import at_least_float32


def cross_entropy_sum(
    logits: Tensor, label: Tensor, label_smoothing: float = 0.0, weight: Tensor | None = None
) -> Tensor:
    """Return the cross entropy summed over the batch, computed in float32 at least also under autocast.

    Args:
        logits: (B, C) before softmax.
        label: (B,) class numbers.
        label_smoothing: Share of the target spread evenly over all classes (arXiv 1512.00567, section 7).
        weight: (C,) what an example of each class counts; None: all the same. The mean divides by the sum of the
            examples' weights, as PyTorch's does.
    """
    logits = at_least_float32(logits)
    weight = None if weight is None else weight.to(logits.dtype)
    return F.cross_entropy(logits, label, weight, reduction="sum", label_smoothing=label_smoothing)


def mixed_cross_entropy_sum(
    logits: Tensor,
    label: Tensor,
    partner_label: Tensor,
    label_share: Tensor,
    label_smoothing: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Return the cross entropy of mixed images: with their own labels and their partners', weighted by their shares.

    Args:
        logits: (B, C) before softmax.
        label: (B,) class numbers of the images themselves.
        partner_label: (B,) class numbers of what was mixed in.
        label_share: (B,) in [0, 1]: the share of the image's own label.
        label_smoothing: As at `cross_entropy_sum`.
        weight: As at `cross_entropy_sum`; an image's weight is mixed like its label.
    """
    logits = at_least_float32(logits)
    weight = None if weight is None else weight.to(logits.dtype)
    own, partner = (
        F.cross_entropy(logits, target, weight, reduction="none", label_smoothing=label_smoothing)
        for target in (label, partner_label)
    )
    return torch.lerp(partner, own, label_share.to(own.dtype)).sum()


def binary_cross_entropy_sum(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the cross entropy of independent yes-or-no labels, summed over examples and labels.

    Args:
        logits: (B, C) before the sigmoid.
        target: (B, C) 0 or 1.
        weight: (C,) what an example that carries the label counts, against 1 for one that does not; None: 1.
    """
    logits = at_least_float32(logits)
    weight = None if weight is None else weight.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="sum", pos_weight=weight)
