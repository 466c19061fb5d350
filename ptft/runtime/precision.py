"""Number types: the autocast context and the gradient scaler of a precision; for fp32 both do nothing."""

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import torch

Name = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """A number type for forward and backward; weights, their gradients and the optimizer stay in fp32."""

    name: Name
    device: torch.device

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context a forward pass and its loss run in."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[self.name])

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler; only fp16 needs one, the others get one that is switched off."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")
