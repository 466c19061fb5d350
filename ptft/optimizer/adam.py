"""Adam (arXiv 1412.6980), in torch's fused form."""

from typing import Any

import torch

from ptft.types import Decay, NonNegativeFloat, PositiveFloat


def adam(
    groups: list[dict[str, Any]],
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Decay, Decay] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Optimizer:
    """Return Adam over parameter groups.

    Args:
        groups: Parameter groups; a group's own `weight_decay` wins over the common one.
        lr: Learning rate.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: L2 penalty added to the gradient.
    """
    # YAML has no tuples: betas may come as a list.
    first, second = betas
    return torch.optim.Adam(groups, lr=lr, betas=(first, second), eps=eps, weight_decay=weight_decay, fused=True)
