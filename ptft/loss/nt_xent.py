"""NT-Xent, the contrastive loss of SimCLR (Chen and others, arXiv 2002.05709, equation 1), summed over anchors."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.loss.cast import at_least_float32


def nt_xent_sum(projections: Tensor, temperature: float) -> Tensor:
    """Return the loss summed over all 2B anchors, in float32 at least also under autocast.

    Each of the 2B projections must find the other view of its example among the 2B - 1 others, by cosine similarity.

    Args:
        projections: (B, 2, D) two views of each example.
        temperature: What similarities are divided by.
    """
    with torch.autocast(projections.device.type, enabled=False):
        flat = projections.flatten(0, 1)  # (2B, D): the views of an example stand side by side
        flat = F.normalize(at_least_float32(flat), dim=1)
        similarity = flat @ flat.T / temperature  # (2B, 2B)
        anchors = torch.arange(len(flat), device=flat.device)
        similarity = similarity.masked_fill(anchors[:, None] == anchors, float("-inf"))
        return F.cross_entropy(similarity, anchors ^ 1, reduction="sum")
