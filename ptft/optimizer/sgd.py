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
    optimizer = torch.optim.SGD(
        groups,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov and momentum > 0,
        weight_decay=weight_decay,
        fused=True,
    )
    if momentum > 0:
        # Momentum that starts from 0 makes the same first step. torch's own start, at the first gradient, takes no
        # parameter that joins later (gradual unfreezing), and keeps unset memory where that gradient was not finite.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
