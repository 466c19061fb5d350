"""An exponential moving average of weights and buffers, moved after every step."""

from torch import nn

from ptft.engine.average import Average
from ptft.engine.settings import EmaSettings


class Ema(Average):
    """The moving average of a task's tensors.

    Args:
        task: The networks to follow.
        settings: Decay and warm-up.
        names: Names of the tensors to follow (those that a checkpoint saves).
    """

    def __init__(self, task: nn.Module, settings: EmaSettings, names: set[str]) -> None:
        super().__init__(task, names)
        self.decay = settings.decay
        self.warmup = settings.warmup

    def update(self, step: int) -> None:
        """Move the average towards the live weights after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        self.move(1 - decay)
