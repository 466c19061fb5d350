"""The focal loss (Lin and others, arXiv 1708.02002): what is right already counts less, by (1 - p)^gamma.

As sums over the batch. The paper's alpha is a weight of each class here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.loss.cast import at_least_float32


def focal_sum(logits: Tensor, label: Tensor, gamma: float, weight: Tensor | None = None) -> Tensor:
    """Return the focal loss of one label out of several, summed over the batch.

    Args:
        logits: (B, C) before softmax.
        label: (B,) class numbers.
        gamma: Above 0; 2 in the paper. At 0 it would be the cross entropy.
        weight: (C,) what an example of each class counts; None: all the same.
    """
    log_probability = at_least_float32(logits).log_softmax(1).gather(1, label[:, None])[:, 0]
    losses = -log_probability * _doubt(log_probability, gamma)
    return losses.sum() if weight is None else (losses * weight.to(losses.dtype)[label]).sum()


def binary_focal_sum(logits: Tensor, target: Tensor, gamma: float, weight: Tensor | None = None) -> Tensor:
    """Return the focal loss of independent yes-or-no labels, summed over examples and labels.

    Args:
        logits: (B, C) before the sigmoid.
        target: (B, C) 0 or 1.
        gamma: Above 0.
        weight: (C,) what an example that carries the label counts, against 1 for one that does not; None: 1.
    """
    logits = at_least_float32(logits)
    yes = target.bool()
    log_probability = F.logsigmoid(torch.where(yes, logits, -logits))
    losses = -log_probability * _doubt(log_probability, gamma)
    return losses.sum() if weight is None else torch.where(yes, losses * weight.to(losses.dtype), losses).sum()


def _doubt(log_probability: Tensor, gamma: float) -> Tensor:
    """Return (1 - p)^gamma, exact also next to p = 1, where its slope stays finite for a gamma below 1."""
    rest = -torch.expm1(log_probability)
    return rest.clamp(min=torch.finfo(rest.dtype).tiny) ** gamma
