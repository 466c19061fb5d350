"""Torch's optimizers without torch.compile: they import it when built and stepped, 3 s of CPU for every command.

Nothing is changed where the compiler is used. Where torch moves on and these names are gone, only the time comes back.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch


def skip_compiler() -> None:
    """Let torch's optimizers be built, saved and loaded without importing torch.compile."""
    optimizer = torch.optim.Optimizer
    for method in (optimizer.add_param_group, optimizer.state_dict, optimizer.load_state_dict, optimizer.zero_grad):
        plain = inspect.unwrap(method)
        # torch._compile keeps here what it would call in place of `plain` once the compiler is imported.
        plain.__dynamo_disable = plain


def plain_step(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """Return the step of an optimizer; of torch's own ones without the wrapper that imports torch.compile.

    What is left out besides are step hooks, which ptft does not use, and a label in profiles.
    """
    if not type(optimizer).__module__.startswith("torch.optim."):
        return optimizer.step
    inner = inspect.unwrap(type(optimizer).step)

    def step() -> None:
        with torch.no_grad():
            inner(optimizer)

    return step
