"""The contract of a logger: something beside the console and metrics.jsonl that takes curves and pictures."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Logger(Protocol):
    """Takes curves and pictures; built as `SomeLogger(directory, start_step, *, its settings)`."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step by metric name, such as `val/accuracy`."""
        ...

    def pictures(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Take pictures by name: (1 or 3, height, width) float in [0, 1]."""
        ...

    def close(self) -> None:
        """Write what is still in memory."""
        ...
