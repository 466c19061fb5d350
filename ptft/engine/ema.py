"""An exponential moving average of weights and buffers, used in place of the live ones while evaluating."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ptft.engine.settings import EmaSettings


class Ema:
    """The moving average of a task's floating-point parameters and buffers; integer buffers are copied.

    Args:
        task: The networks to follow.
        settings: Decay and warm-up.
        names: Names of the tensors to follow (those that a checkpoint saves).
    """

    def __init__(self, task: nn.Module, settings: EmaSettings, names: set[str]) -> None:
        self.decay = settings.decay
        self.warmup = settings.warmup
        live = {name: tensor for name, tensor in task.state_dict(keep_vars=True).items() if name in names}
        self._live = {name: tensor for name, tensor in live.items() if tensor.is_floating_point()}
        self._copied = {name: tensor for name, tensor in live.items() if not tensor.is_floating_point()}
        self.average = {name: tensor.detach().clone() for name, tensor in live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the live weights after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        averages = [self.average[name] for name in self._live]
        torch._foreach_lerp_(averages, [tensor.detach() for tensor in self._live.values()], 1 - decay)
        for name, tensor in self._copied.items():
            self.average[name].copy_(tensor)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the place of the live weights, and the live ones back afterwards."""
        live = {**self._live, **self._copied}
        kept = {name: tensor.detach().clone() for name, tensor in live.items()}
        _copy(self.average, live)
        try:
            yield
        finally:
            _copy(kept, live)

    def load(self, average: Mapping[str, Tensor]) -> None:
        """Take back a saved average."""
        _copy(average, self.average)


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
