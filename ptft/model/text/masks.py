"""Which token attends to which where several documents lie in one block, and where in its document each token stands.

Legend: B batch, T tokens.
"""

import torch
from torch import Tensor


def document_positions(document: Tensor) -> Tensor:
    """Return the place of each token in its own document, from 0: (B, T) int64.

    Args:
        document: (B, T) int64, equal numbers side by side are one document.
    """
    place = torch.arange(document.shape[1], device=document.device).expand_as(document)
    starts = torch.ones_like(document, dtype=torch.bool)
    starts[:, 1:] = document[:, 1:] != document[:, :-1]
    return place - torch.where(starts, place, 0).cummax(dim=1).values


def token_positions(attention_mask: Tensor) -> Tensor:
    """Return the place of each token among those of its row, from 0, wherever the padding stands: (B, T) int64.

    Args:
        attention_mask: (B, T) 1 = token, 0 = padding.
    """
    return (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)


def document_mask(document: Tensor, *, causal: bool) -> Tensor:
    """Return which token (second to last dimension) attends to which (last): (B, 1, T, T) bool.

    Padding, which is document 0, attends to itself, so that no row is empty.

    Args:
        document: (B, T) int64.
        causal: Only to itself and those before it.
    """
    mask = document[:, None, :, None] == document[:, None, None, :]
    return mask.tril() if causal else mask
