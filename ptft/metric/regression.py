"""Metrics of predicted numbers: exact at any batch size, all sums in float64."""

from typing import Any

import torch
from torch import Tensor

from ptft.errors import DataError
from ptft.metric.bootstrap import Interval, paired_difference, sum_intervals


class RegressionMetrics:
    """Mean squared and absolute error, their root, the share of variance explained, Spearman's rank correlation.

    The share (R2) is left out where all labels are equal, the correlation where labels or predictions are.
    """

    def __init__(self) -> None:
        """Start an evaluation."""
        self._labels: list[Tensor] = []
        self._predictions: list[Tensor] = []

    def update(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Take a batch of predictions and labels, (B,) each, in; returns the predictions as (B,) float64 on the CPU."""
        prediction = prediction.detach().double().cpu()
        self._predictions.append(prediction)
        self._labels.append(label.detach().double().cpu())
        return prediction

    def compute(self) -> dict[str, float]:
        """Return each metric by name.

        Raises:
            DataError: No example was evaluated.
        """
        prediction, label = self._examples()
        metrics = {
            name: float(value[0]) for name, value in _of_sums(_values(prediction, label).sum(dim=0)[None]).items()
        }
        if float(label.max()) == float(label.min()):
            metrics.pop("r2")
            return metrics
        rank = correlation(ranks(prediction), ranks(label))
        return metrics if rank is None else metrics | {"spearman": rank}

    def intervals(self) -> dict[str, Interval]:
        """Return 95% bootstrap intervals of all metrics but the rank correlation."""
        prediction, label = self._examples()
        found = sum_intervals(_values(prediction, label), _of_sums)
        return {name: value for name, value in found.items() if name != "r2" or float(label.max()) > float(label.min())}

    def table(self) -> list[dict[str, Any]]:
        """Return no rows: there are no classes."""
        return []

    def subset(self, rows: Tensor) -> "RegressionMetrics":
        """Return metrics over the examples that `rows`, (N,) bool in the order they came in, marks."""
        chosen = RegressionMetrics()
        prediction, label = self._examples()
        chosen._predictions, chosen._labels = [prediction[rows]], [label[rows]]
        return chosen

    def differences(self, other: "RegressionMetrics") -> dict[str, Interval]:
        """Return 95% intervals of `other`'s mean errors minus these, paired: both took in the same examples in turn.

        Raises:
            ValueError: They did not.
        """
        (prediction, label), (others, same) = self._examples(), other._examples()
        if not torch.equal(label, same):
            raise ValueError("expected metrics over the same labels in the same order")
        first, second = (values - label for values in (prediction, others))
        return {
            "mse": paired_difference(first**2, second**2)[1:],
            "mae": paired_difference(first.abs(), second.abs())[1:],
        }

    def _examples(self) -> tuple[Tensor, Tensor]:
        if not self._labels:
            raise DataError("no example was evaluated, so there are no metrics; expected at least one batch")
        self._labels, self._predictions = [torch.cat(self._labels)], [torch.cat(self._predictions)]
        return self._predictions[0], self._labels[0]


def _values(prediction: Tensor, label: Tensor) -> Tensor:
    """Return what the metrics are sums of, (N, 5): 1, squared and absolute error, the label centred, and its square."""
    error, centred = prediction - label, label - label.mean()
    return torch.stack([torch.ones_like(error), error**2, error.abs(), centred, centred**2], dim=1)


def _of_sums(sums: Tensor) -> dict[str, Tensor]:
    """Return the metrics, (R,) each, of sums (R, 5) over examples."""
    count, squared, absolute, centred, square = sums.unbind(dim=1)
    mse, variance = squared / count, square / count - (centred / count) ** 2
    return {"mse": mse, "mae": absolute / count, "rmse": mse.sqrt(), "r2": 1 - mse / variance}


def ranks(values: Tensor) -> Tensor:
    """Return the rank of each of (N,) values, from 1, as float64; equal ones share the mean of their ranks."""
    ordered = values.sort().values.contiguous()
    below, not_above = (torch.searchsorted(ordered, values.contiguous(), right=right) for right in (False, True))
    return (below + 1 + not_above).double() / 2


def correlation(first: Tensor, second: Tensor) -> float | None:
    """Return Pearson's correlation of (N,) values; None where one side does not vary."""
    first, second = first.double() - first.double().mean(), second.double() - second.double().mean()
    scale = float(first.norm() * second.norm())
    return float(first @ second) / scale if scale > 0 else None
