"""Cross entropy as a sum over the batch, so that accumulated and distributed steps divide by one count."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.loss.cast import at_least_float32


def cross_entropy_sum(logits: Tensor, label: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross entropy summed over the batch, computed in float32 at least also under autocast.

    Args:
        logits: (B, C) before softmax.
        label: (B,) class numbers.
        label_smoothing: Share of the target spread evenly over all classes (arXiv 1512.00567, section 7).
    """
    return F.cross_entropy(at_least_float32(logits), label, reduction="sum", label_smoothing=label_smoothing)


def mixed_cross_entropy_sum(
    logits: Tensor, label: Tensor, partner_label: Tensor, label_share: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross entropy of mixed images: with their own labels and their partners', weighted by their shares.

    Args:
        logits: (B, C) before softmax.
        label: (B,) class numbers of the images themselves.
        partner_label: (B,) class numbers of what was mixed in.
        label_share: (B,) in [0, 1]: the share of the image's own label.
        label_smoothing: As at `cross_entropy_sum`.
    """
    logits = at_least_float32(logits)
    own, partner = (
        F.cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)
        for target in (label, partner_label)
    )
    return torch.lerp(partner, own, label_share.to(own.dtype)).sum()
