"""The contract of a logger: something beside the console and metrics.jsonl that takes curves, pictures and texts."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Logger(Protocol):
    """Takes curves, pictures and texts; built as `SomeLogger(directory, start_step, *, its settings)`."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step by metric name, such as `val/accuracy`."""
        ...

    def pictures(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Take pictures by name: (1 or 3, height, width) float in [0, 1]."""
        ...

    def texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Take texts by name."""
        ...

    def close(self) -> None:
        """Write what is still in memory."""
        ...
