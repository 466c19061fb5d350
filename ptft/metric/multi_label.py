"""Metrics of examples that carry any number of labels: exact at any batch size, all sums in float64.

Rules, the same as scikit-learn's with `zero_division=0`:

- micro means count all pairs of example and label together; macro means run over labels that some example carries or is
  given, a label never given has precision 0;
- an exact match is an example with all of its labels and no other;
- average precision is the area under the curve of precision over recall, in steps, averaged over labels that some
  example carries; it is left out where there is none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.errors import DataError
from ptft.metric.bootstrap import Interval, mean_intervals, paired_difference, sum_intervals
from ptft.metric.threshold import USUAL, best_threshold


class MultiLabelMetrics:
    """Micro and macro precision, recall and F1, exact match, average precision and the plain cross entropy."""

    def __init__(self, classes: Sequence[str], *, thresholds: Tensor | None = None) -> None:
        """Start an evaluation.

        Args:
            classes: Names of the labels.
            thresholds: (C,) the probability from which each is given; None: 0.5.
        """
        self.classes = tuple(classes)
        self.thresholds = torch.full((len(self.classes),), USUAL) if thresholds is None else thresholds.double().cpu()
        self._scores: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._losses: list[Tensor] = []

    def update(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Take a batch in and return which labels are given, (B, C) bool, and their probabilities (B, C) float64.

        Args:
            logits: (B, C) before the sigmoid.
            target: (B, C) 0 or 1.
        """
        logits, target = logits.detach().double().cpu(), target.detach().cpu() > 0.5
        losses = F.binary_cross_entropy_with_logits(logits, target.double(), reduction="none").mean(dim=1)
        score = logits.sigmoid()
        self._scores.append(score)
        self._targets.append(target)
        self._losses.append(losses)
        return score >= self.thresholds, score

    def compute(self) -> dict[str, float]:
        """Return each metric by name.

        Raises:
            DataError: No example was evaluated.
        """
        score, target, losses = self._examples()
        hits, support, given = self._counts(score, target)
        present = ((support + given) > 0).sum().clamp(min=1)
        metrics = {name: float(value[0]) for name, value in _micro(_sums(hits, support, given)[None]).items()}
        for name, values in _by_label(hits, support, given).items():
            metrics[f"{name}_macro"] = float(values.sum() / present)
        metrics["exact_match"] = float(self._exact(score, target).mean())
        metrics["loss"] = float(losses.mean())
        areas = [average_precision(score[:, k], target[:, k]) for k in range(len(self.classes)) if target[:, k].any()]
        return metrics | ({"average_precision": sum(areas) / len(areas)} if areas else {})

    def intervals(self) -> dict[str, Interval]:
        """Return 95% bootstrap intervals of the micro means, exact match and loss."""
        score, target, losses = self._examples()
        exact, loss = mean_intervals(torch.stack([self._exact(score, target), losses], dim=1))
        return sum_intervals(self._per_example(score, target), _micro) | {"exact_match": exact, "loss": loss}

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each label: its precision, recall, F1, average precision, and the examples that carry it."""
        score, target, _ = self._examples()
        hits, support, given = self._counts(score, target)
        columns = {name: values.tolist() for name, values in _by_label(hits, support, given).items()}
        return [
            {"class": name}
            | {column: values[number] for column, values in columns.items()}
            | {"average_precision": average_precision(score[:, number], target[:, number])}
            | {"support": int(support[number])}
            for number, name in enumerate(self.classes)
        ]

    def best_thresholds(self) -> list[float]:
        """Return for each label the threshold of the highest F1."""
        score, target, _ = self._examples()
        return [best_threshold(score[:, number], target[:, number]) for number in range(len(self.classes))]

    def subset(self, rows: Tensor) -> "MultiLabelMetrics":
        """Return metrics over the examples that `rows`, (N,) bool in the order they came in, marks."""
        chosen = MultiLabelMetrics(self.classes, thresholds=self.thresholds)
        score, target, losses = self._examples()
        chosen._scores, chosen._targets, chosen._losses = [score[rows]], [target[rows]], [losses[rows]]
        return chosen

    def differences(self, other: "MultiLabelMetrics") -> dict[str, Interval]:
        """Return 95% intervals of `other`'s metrics minus these, paired: both took in the same examples in one order.

        Raises:
            ValueError: They did not.
        """
        (score, target, losses), (others, same, more) = self._examples(), other._examples()
        if self.classes != other.classes or not torch.equal(target, same):
            raise ValueError("expected metrics over the same labels and examples in the same order")
        values = torch.cat([self._per_example(score, target), other._per_example(others, target)], dim=1)

        def difference(sums: Tensor) -> dict[str, Tensor]:
            first, second = _micro(sums[:, :3]), _micro(sums[:, 3:])
            return {name: second[name] - first[name] for name in first}

        exact = paired_difference(self._exact(score, target), other._exact(others, target))[1:]
        return sum_intervals(values, difference) | {"exact_match": exact, "loss": paired_difference(losses, more)[1:]}

    def _examples(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities and targets (N, C), and losses (N,)."""
        if not self._scores:
            raise DataError("no example was evaluated, so there are no metrics; expected at least one batch")
        self._scores, self._targets = [torch.cat(self._scores)], [torch.cat(self._targets)]
        self._losses = [torch.cat(self._losses)]
        return self._scores[0], self._targets[0], self._losses[0]

    def _counts(self, score: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return how often each label is given rightly, carried and given: (C,) float64 each."""
        given = score >= self.thresholds
        hits, support, taken = (values.sum(dim=0).double() for values in (given & target, target, given))
        return hits, support, taken

    def _per_example(self, score: Tensor, target: Tensor) -> Tensor:
        """Return labels given rightly, carried and given of each example: (N, 3) float64."""
        given = score >= self.thresholds
        return torch.stack([values.sum(dim=1) for values in (given & target, target, given)], dim=1).double()

    def _exact(self, score: Tensor, target: Tensor) -> Tensor:
        """Return whether each example has all of its labels and no other: (N,) float64."""
        return ((score >= self.thresholds) == target).all(dim=1).double()


def average_precision(score: Tensor, positive: Tensor) -> float:
    """Return the sum of precisions at each threshold, weighted by the step in recall; not a number without positives.

    Args:
        score: (N,) higher for what is held more positive.
        positive: (N,) bool.
    """
    positives = int(positive.sum())
    if not positives or not bool(torch.isfinite(score).all()):
        return float("nan")
    score, order = score.sort(descending=True, stable=True)
    last = torch.cat([score[1:] != score[:-1], torch.ones(1, dtype=torch.bool)])  # equal scores are one threshold
    hits = positive[order].double().cumsum(0)[last]
    precision = hits / torch.arange(1, len(score) + 1, dtype=torch.float64)[last]
    return float((precision * hits.diff(prepend=hits.new_zeros(1))).sum()) / positives


def _sums(hits: Tensor, support: Tensor, given: Tensor) -> Tensor:
    return torch.stack([hits.sum(), support.sum(), given.sum()])


def _micro(sums: Tensor) -> dict[str, Tensor]:
    """Return the micro means, (R,) each, of (R, 3) pairs given rightly, carried and given."""
    hits, support, given = sums.unbind(dim=1)
    return {f"{name}_micro": values for name, values in _by_label(hits, support, given).items()}


def _by_label(hits: Tensor, support: Tensor, given: Tensor) -> Mapping[str, Tensor]:
    """Return precision, recall and F1 of counts of any shape; 0 where there is nothing to divide by."""
    precision, recall, f1 = (
        part / whole.clamp(min=1) for part, whole in ((hits, given), (hits, support), (2 * hits, support + given))
    )
    return {"f1": f1, "precision": precision, "recall": recall}
