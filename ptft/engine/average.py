"""An average of the weights that is evaluated and handed over in place of the live ones: the contract of EMA and SWA.

Floating-point parameters and buffers are averaged - batch-norm statistics too, so that no extra pass over the data is
needed to make them fit -, integer buffers are copied.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Average(ABC):
    """Follows a task's tensors; subclasses say when, and how fast.

    Args:
        task: The networks to follow.
        names: Names of the tensors to follow (those that a checkpoint saves).
    """

    def __init__(self, task: nn.Module, names: set[str]) -> None:
        live = {name: tensor for name, tensor in task.state_dict(keep_vars=True).items() if name in names}
        self._live = {name: tensor for name, tensor in live.items() if tensor.is_floating_point()}
        self._copied = {name: tensor for name, tensor in live.items() if not tensor.is_floating_point()}
        self.average = {name: tensor.detach().clone() for name, tensor in live.items()}

    @abstractmethod
    def update(self, step: int) -> None:
        """See the live weights after step number `step` (from 0)."""

    @property
    def started(self) -> bool:
        """Whether there is an average yet; before, the live weights are evaluated."""
        return True

    @torch.no_grad()
    def move(self, weight: float) -> None:
        """Move the average this share of the way towards the live weights."""
        averages = [self.average[name] for name in self._live]
        torch._foreach_lerp_(averages, [tensor.detach() for tensor in self._live.values()], weight)
        for name, tensor in self._copied.items():
            self.average[name].copy_(tensor)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the place of the live weights, and the live ones back afterwards."""
        if not self.started:
            yield
            return
        live = {**self._live, **self._copied}
        kept = {name: tensor.detach().clone() for name, tensor in live.items()}
        _copy(self.average, live)
        try:
            yield
        finally:
            _copy(kept, live)

    def state_dict(self) -> dict[str, Any]:
        """Return the average by name, and what a subclass adds; empty while there is none."""
        return {"average": dict(self.average)} if self.started else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        if state:
            _copy(state["average"], self.average)


def saved_average(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of the average in that of a checkpoint; empty if it has none."""
    early = state.get("ema")  # where checkpoints had it before there was another average
    return state.get("average") or ({"average": early} if early else {})


def averaged(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Return the averaged tensors in the state of a checkpoint; empty if it has none."""
    average: Mapping[str, Tensor] = saved_average(state).get("average", {})
    return average


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
