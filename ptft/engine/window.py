"""Sums since the last log point: what training curves are made of.

Losses are summed and counted, in float64 on the device, and divided only when they are read; so a curve is the exact
mean over the window, with unequal counts, and reading is the one synchronisation.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Window:
    """Sums and counts of each loss term, and of further scalars, since the last log point."""

    def __init__(self, device: torch.device) -> None:
        # MPS has no float64.
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._device = device
        self._clear()

    def _clear(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Any] = {}
        self.weighted: dict[str, Tensor] = {}
        self.scalars: dict[str, Tensor] = {}
        self.scalar_counts: dict[str, int] = {}

    def add_losses(self, sums: Mapping[str, Tensor], coefficients: Mapping[str, float]) -> None:
        """Add the sums of one micro-batch."""
        for name, value in sums.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), dtype=self._dtype, device=self._device)
            self.sums[name] += value.detach()
            if name in coefficients:  # it may change from step to step
                self.weighted[name] = self.weighted.get(name, 0.0) + coefficients[name] * value.detach().to(self._dtype)

    def add_counts(self, counts: Mapping[str, int | Tensor]) -> None:
        """Add the counts of one global batch."""
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def add_scalars(self, scalars: Mapping[str, Tensor]) -> None:
        """Add further scalars of one micro-batch; they are averaged over micro-batches."""
        for name, value in scalars.items():
            self.scalars[name] = self.scalars.get(name, 0) + value.detach().to(self._dtype)
            self.scalar_counts[name] = self.scalar_counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Return the means and start again: `loss` is the weighted total; several terms follow one by one."""
        counts = {name: float(count) or 1.0 for name, count in self.counts.items()}
        terms = {name: float(value) / counts[name] for name, value in self.sums.items()}
        values = {"loss": sum(float(self.weighted.get(name, self.sums[name])) / counts[name] for name in terms)}
        if len(terms) > 1:
            values |= terms
        values |= {name: float(value) / self.scalar_counts[name] for name, value in self.scalars.items()}
        self._clear()
        return values

    def state_dict(self) -> dict[str, Any]:
        """Return the sums, so that a resumed run logs what an uninterrupted one logs."""
        return {
            "sums": dict(self.sums),
            "counts": dict(self.counts),
            "weighted": dict(self.weighted),
            "scalars": dict(self.scalars),
            "scalar_counts": dict(self.scalar_counts),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.sums = {name: value.to(self._device) for name, value in state["sums"].items()}
        self.counts = dict(state["counts"])
        self.weighted = {name: value.to(self._device) for name, value in state["weighted"].items()}
        self.scalars = {name: value.to(self._device) for name, value in state["scalars"].items()}
        self.scalar_counts = dict(state["scalar_counts"])
