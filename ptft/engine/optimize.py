"""One optimizer a phase with what surrounds its step: schedule, L1 penalty, clipping, scaling, non-finite values.

An update whose gradient norm is not finite is left out. On an accelerator the norm is not read for that, which would
wait for the device: it becomes `found_inf` for torch's fused optimizers, which then leave weights and moments as they
are, and the engine reads the flags at the next log point. The CPU has nothing to wait for; there reading it is cheaper.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ptft.optimizer.lean import plain_step
from ptft.schedule.schedule import WarmedUp


class PhaseOptimizer:
    """The optimizer of one phase.

    Args:
        optimizer: A torch optimizer over the phase's parameter groups.
        schedule: Factor on each group's learning rate by step.
        scaler: Gradient scaler; switched off for all precisions but fp16.
        clip_norm: Largest norm of the phase's gradient; None: no clipping.
        l1: Weight of the L1 penalty on the decayed parameters.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: WarmedUp,
        scaler: torch.amp.GradScaler,
        *,
        clip_norm: float | None = None,
        l1: float = 0.0,
    ) -> None:
        self.optimizer = optimizer
        self.schedule = schedule
        self.scaler = scaler
        groups = optimizer.param_groups
        self.base_lrs = [float(group["lr"]) * group.get("lr_scale", 1.0) for group in groups]
        self.parameters: list[Tensor] = [parameter for group in groups for parameter in group["params"]]
        self.names = [name for group in groups for name in group["names"]]
        self._penalised = [parameter for group in groups if group["decay"] for parameter in group["params"]]
        self._clip: Callable[[list[Tensor], Tensor], None] = _no_clip if clip_norm is None else _Clip(clip_norm)
        self._penalise: Callable[[], None] = self._add_l1 if l1 else _nothing
        self._l1 = l1
        self._scales = scaler.is_enabled()
        self._step = plain_step(optimizer)
        self._flags_on_device = bool(optimizer.defaults.get("fused")) and self.parameters[0].device.type != "cpu"
        self._apply = self._step_on_device if self._flags_on_device else self._step_on_host
        if self._scales:
            self._apply = self._scaled_step
        self.flags: list[Any] = []
        """For each step since the last `take_nonfinite`: true where the gradient was not finite."""
        self.last_norm: Tensor | None = None
        self.lr = max(self.base_lrs)
        """The highest learning rate of any group at the last step: the one that makes a training diverge."""

    def zero_grad(self) -> None:
        """Forget the gradients of this phase."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, step: int) -> None:
        """Apply the gradients: penalty, norm, clipping, update; `step` counts from 0 and sets the learning rate."""
        factor = self.schedule.factor(step)
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base_lr * factor
        self.lr = max(self.base_lrs) * factor
        if self._scales:
            self.scaler.unscale_(self.optimizer)
        self._penalise()
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        # What torch.nn.utils.get_total_norm does, without sorting the gradients by device and type.
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self._clip(gradients, norm)
        self._apply(norm)
        self.last_norm = norm

    def take_nonfinite(self) -> list[bool]:
        """Return for each step since the last call whether its gradient was not finite. Synchronises.

        With a gradient scaler it is one answer: whether the scale fell below 1. An overflow now and then belongs to
        fp16, but that takes 17 more than there were steps to recover from: the run is at fault, not the scale.
        """
        if self._scales:
            return [self.scaler.get_scale() < 1]
        flags = torch.stack(self.flags).tolist() if self.flags and self._flags_on_device else self.flags
        self.flags = []
        return [bool(flag) for flag in flags]

    def _step_on_device(self, norm: Tensor) -> None:
        flag = norm.isfinite().logical_not_().float()
        self.flags.append(flag)
        self.optimizer.found_inf = flag  # type: ignore[attr-defined]
        self._step()

    def _step_on_host(self, norm: Tensor) -> None:
        finite = math.isfinite(norm.item())  # synchronises an accelerator whose optimizer has no fused form
        self.flags.append(not finite)
        if finite:
            self._step()

    def _scaled_step(self, norm: Tensor) -> None:
        # Overflow is part of fp16: the scaler skips the step and lowers its scale, so it is no fault of the run.
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _add_l1(self) -> None:
        parameters = [parameter for parameter in self._penalised if parameter.grad is not None]
        gradients = [parameter.grad for parameter in parameters]
        torch._foreach_add_(gradients, torch._foreach_sign(parameters), alpha=self._l1)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments by parameter name, the schedule's state and the scaler's."""
        moments = {}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            moments[name] = dict(self.optimizer.state.get(parameter, {}))
        return {"moments": moments, "schedule": self.schedule.schedule.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned; parameters are found by name, so their order may change.

        Raises:
            KeyError: A parameter has no saved moments, or saved ones have no parameter.
        """
        if set(state["moments"]) != set(self.names):
            different = sorted(set(state["moments"]) ^ set(self.names))
            raise KeyError(f"trained parameters differ from the saved ones: {', '.join(different[:5])}")
        # torch numbers the parameters in the order of the groups; its own loader moves moments to their devices.
        saved = self.optimizer.state_dict()
        saved["state"] = {
            number: {key: _laid_out(value, parameter) for key, value in state["moments"][name].items()}
            for number, (name, parameter) in enumerate(zip(self.names, self.parameters, strict=True))
            if state["moments"][name]
        }
        self.optimizer.load_state_dict(saved)
        self.schedule.schedule.load_state_dict(state["schedule"])
        if self._scales:
            self.scaler.load_state_dict(state["scaler"])


def _laid_out(value: Any, parameter: Tensor) -> Any:
    """Return a moment in the memory layout of its parameter: fused optimizers read both by position in memory.

    Checkpoints hold contiguous tensors; beside weights in channels_last those would be taken for other values.
    """
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device, requires_grad=False).copy_(value)


class _Clip:
    """Scale gradients down to a largest norm."""

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def __call__(self, gradients: list[Tensor], norm: Tensor) -> None:
        factor = (self.max_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, factor)


def _no_clip(gradients: list[Tensor], norm: Tensor) -> None:
    """Leave the gradients as they are."""


def _nothing() -> None:
    """Add no penalty."""
