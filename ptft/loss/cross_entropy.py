"""Cross entropy as a sum over the batch, so that accumulated and distributed steps divide by one count."""

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
