"""From the features of tokens to those of their text, whatever padding follows them."""

from typing import Literal

import torch
from torch import Tensor


def pool(features: Tensor, lengths: Tensor, how: Literal["last", "mean", "max"], *, backwards: bool) -> Tensor:
    """Return the features of each text: (B, D).

    Args:
        features: (B, T, D), padded at the end of a row.
        lengths: (B,) tokens of each row, at least 1.
        how: last: of the last token; mean, max: over the tokens.
        backwards: The second half of the features was read backwards, so that its last token is the first.
    """
    if how == "last":
        last = features[torch.arange(len(features), device=features.device), lengths - 1]
        if not backwards:
            return last
        half = features.shape[-1] // 2
        return torch.cat([last[:, :half], features[:, 0, half:]], dim=-1)
    inside = (torch.arange(features.shape[1], device=features.device)[None] < lengths[:, None])[..., None]
    if how == "max":
        return features.masked_fill(~inside, -torch.inf).amax(dim=1)
    return (features * inside).sum(dim=1) / lengths[:, None]
