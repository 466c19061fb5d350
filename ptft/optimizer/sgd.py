"""Stochastic gradient descent with momentum, in torch's fused form."""

from typing import Any

import torch

from ptft.types import NonNegativeFloat, PositiveFloat, UnitFloat


def sgd(
    groups: list[dict[str, Any]],
    *,
    lr: PositiveFloat = 0.1,
    momentum: UnitFloat = 0.9,
    nesterov: bool = True,
    weight_decay: NonNegativeFloat = 5e-4,
) -> torch.optim.Optimizer:
    """Return SGD over parameter groups.

    Args:
        groups: Parameter groups; a group's own `weight_decay` wins over the common one.
        lr: Learning rate.
        momentum: Share of the last update that is kept; 0 switches momentum off.
        nesterov: Look ahead along the momentum (needs momentum).
        weight_decay: L2 penalty added to the gradient.
    """
    # torch's Nesterov needs momentum; without any the two forms are the same.
    return torch.optim.SGD(
        groups,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov and momentum > 0,
        weight_decay=weight_decay,
        fused=True,
    )
