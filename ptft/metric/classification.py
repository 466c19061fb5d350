"""Metrics of multi-class classification: exact at any batch size, all sums and means in float64.

Each batch is only reduced to what its examples need later; everything is computed once, at the end. The area under the
curve needs every score, so the logits are kept: 4 bytes an example and class.

Rules, the same as scikit-learn's with `zero_division=0`:

- macro means run over the classes that occur among labels or predictions; a class never predicted has precision 0;
- the area under the curve is one class against the rest, averaged over classes that have examples in and outside of
  them; it is left out where there is no such class. Log probabilities are ranked to the seven digits of float32, so
  that what is equal on paper is a tie and rounding does not order it;
- of two classes one is the positive one, whose precision, recall and F1 stand beside the means;
- top-5 accuracy is left out below five classes; with exactly five it is 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ptft.errors import DataError
from ptft.metric.bootstrap import Interval, cell_intervals, mean_intervals, paired_difference
from ptft.metric.threshold import Goal, best_threshold

NUM_BINS = 15
"""Bins of the calibration error, as in Guo et al., arXiv 1706.04599."""
TOP = 5


@dataclass(frozen=True)
class _Examples:
    """What is kept of some examples, on the CPU."""

    logits: Tensor  # (N, C) float32 or float64
    top: Tensor  # (N,) of the same type: the largest logit
    top_loss: Tensor  # (N,) float64: minus the log probability of the likeliest class
    label: Tensor  # (N,) int64
    prediction: Tensor  # (N,) int64: the likeliest class, unless a threshold says otherwise
    score: Tensor  # (N,) float64: probability of the prediction
    loss: Tensor  # (N,) float64: cross entropy without smoothing
    rank: Tensor  # (N,) int64: classes that score higher than the label

    def log_probability(self, number: int) -> Tensor:
        """Return the log probability of one class, (N,) float32."""
        return ((self.logits[:, number] - self.top).double() - self.top_loss).float()

    def select(self, rows: Tensor) -> "_Examples":
        """Return the examples that `rows`, (N,) bool, marks."""
        return _Examples(*(values[rows] for values in vars(self).values()))

    @staticmethod
    def join(batches: Sequence["_Examples"]) -> "_Examples":
        """Return the examples of several batches, in order."""
        return _Examples(*(torch.cat([vars(batch)[name] for batch in batches]) for name in vars(batches[0])))


class ClassificationMetrics:
    """Accuracy, top-5 accuracy, macro precision, recall, F1 and AUROC, calibration error and plain cross entropy."""

    def __init__(self, classes: Sequence[str], *, positive: int = 1, threshold: float | None = None) -> None:
        """Start an evaluation.

        Args:
            classes: Their names in the order of their label numbers.
            positive: Number of the positive class, where there are two.
            threshold: Probability from which the positive class is predicted, where there are two; None: the likelier.
        """
        self.classes = tuple(classes)
        self.positive = positive
        self.threshold = threshold
        self._batches: list[_Examples] = []

    def update(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Take a batch in and return its predictions (B,) int64 and their probabilities (B,) float64, on the CPU.

        Args:
            logits: (B, C) before softmax, of any float type, on any device.
            label: (B,) class numbers.
        """
        logits, label = logits.detach().cpu(), label.detach().long().cpu()
        logits = logits if logits.dtype.itemsize >= 4 else logits.float()
        top, prediction = logits.max(dim=1)
        odds = (logits.double() - top[:, None]).exp().scatter(1, prediction[:, None], 0.0)  # the rest against the top
        top_loss = odds.sum(dim=1).log1p()  # log1p: exact down to the smallest doubt
        of_label = logits.gather(1, label[:, None])
        loss = top_loss + (top.double() - of_label[:, 0])
        score = (-top_loss).exp()
        if self.threshold is not None:
            prediction, score = decided(logits, self.positive, self.threshold)
        rank = (logits > of_label).sum(dim=1)
        self._batches.append(_Examples(logits, top, top_loss, label, prediction, score, loss, rank))
        return prediction, score

    def compute(self) -> dict[str, float]:
        """Return each metric by name.

        Raises:
            DataError: No example was evaluated.
        """
        examples = self._examples()
        cells, counts = self._cells(examples)
        metrics = {name: float(value[0]) for name, value in self._cell_metrics(cells, counts[None]).items()}
        metrics |= {name: float(values.mean()) for name, values in self._per_example(examples).items()}
        metrics["expected_calibration_error"] = calibration_error(examples.score, examples.prediction == examples.label)
        areas = [
            area_under_curve(examples.log_probability(number), positive)
            for number in range(len(self.classes))
            if 0 < int((positive := examples.label == number).sum()) < len(positive)
        ]
        return metrics | ({"auroc": sum(areas) / len(areas)} if areas else {})

    def best_threshold(self, goal: Goal) -> float:
        """Return the threshold of the positive class that is best for these examples."""
        examples = self._examples()
        score = positive_probability(examples.logits, self.positive)
        return best_threshold(score, examples.label == self.positive, goal)

    def intervals(self) -> dict[str, Interval]:
        """Return 95% bootstrap intervals of all metrics but the area under the curve and the calibration error."""
        examples = self._examples()
        cells, counts = self._cells(examples)
        values = self._per_example(examples)
        means = mean_intervals(torch.stack(list(values.values()), dim=1))
        return cell_intervals(counts, lambda drawn: self._cell_metrics(cells, drawn)) | dict(
            zip(values, means, strict=True)
        )

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each class: class, precision, recall, f1, support (examples that carry the label)."""
        cells, counts = self._cells(self._examples())
        hits, support, predicted = (margin[0] for margin in self._margins(cells, counts[None]))
        precision, recall, f1 = (_ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, support + predicted))
        columns = zip(self.classes, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
        return [
            {"class": name, "precision": p, "recall": r, "f1": f, "support": int(n)} for name, p, r, f, n in columns
        ]

    def subset(self, rows: Tensor) -> "ClassificationMetrics":
        """Return metrics over the examples that `rows`, (N,) bool in the order they came in, marks."""
        chosen = ClassificationMetrics(self.classes, positive=self.positive, threshold=self.threshold)
        chosen._batches = [self._examples().select(rows)]
        return chosen

    def differences(self, other: "ClassificationMetrics") -> dict[str, Interval]:
        """Return 95% intervals of `other`'s metrics minus these, paired: both took in the same examples in one order.

        Raises:
            ValueError: They did not.
        """
        mine, theirs = self._examples(), other._examples()
        if self.classes != other.classes or not torch.equal(mine.label, theirs.label):
            raise ValueError("expected metrics over the same classes and labels in the same order")
        size = len(self.classes)
        # A cell for each (label, own prediction, other's prediction); metrics of each side see theirs of the three.
        joint, counts = torch.unique(
            (mine.label * size + mine.prediction) * size + theirs.prediction, return_counts=True
        )
        sides = (joint // size, joint // size**2 * size + joint % size)

        def difference(drawn: Tensor) -> dict[str, Tensor]:
            first, second = (self._cell_metrics(cells, drawn) for cells in sides)
            return {name: second[name] - first[name] for name in first}

        pairs = zip(self._per_example(mine).items(), self._per_example(theirs).values(), strict=True)
        means = {name: paired_difference(first, second)[1:] for (name, first), second in pairs}
        return cell_intervals(counts, difference) | means

    def _examples(self) -> _Examples:
        if not self._batches:
            raise DataError("no example was evaluated, so there are no metrics; expected at least one batch")
        self._batches = [_Examples.join(self._batches)]
        return self._batches[0]

    def _per_example(self, examples: _Examples) -> dict[str, Tensor]:
        """Return metrics that are means over examples: (N,) float64 each."""
        top = {f"top{TOP}_accuracy": (examples.rank < TOP).double()} if len(self.classes) >= TOP else {}
        return {"loss": examples.loss} | top

    def _cells(self, examples: _Examples) -> tuple[Tensor, Tensor]:
        """Return the K cells of the confusion matrix that are not empty, label * C + prediction, and their counts."""
        numbers = examples.label * len(self.classes) + examples.prediction
        cells: Tensor
        counts: Tensor
        cells, counts = torch.unique(numbers, return_counts=True)
        return cells, counts

    def _margins(self, cells: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return hits, labels and predictions of each class, (R, C) float64, for R counts (R, K) of the cells."""
        labels, predictions = cells // len(self.classes), cells % len(self.classes)
        zeros = torch.zeros(counts.shape[0], len(self.classes), dtype=torch.float64)
        counts = counts.double()
        hits = zeros.index_add(1, labels, counts * (labels == predictions))
        return hits, zeros.index_add(1, labels, counts), zeros.index_add(1, predictions, counts)

    def _cell_metrics(self, cells: Tensor, counts: Tensor) -> dict[str, Tensor]:
        """Return metrics of the confusion matrix, (R,) each, for R counts (R, K) of its cells."""
        hits, support, predicted = self._margins(cells, counts)
        num_present = ((support + predicted) > 0).sum(dim=1)
        by_class = {
            "precision": _ratio(hits, predicted),
            "recall": _ratio(hits, support),
            "f1": _ratio(2 * hits, support + predicted),
        }
        metrics = {"accuracy": hits.sum(dim=1) / support.sum(dim=1)}
        metrics |= {f"{name}_macro": values.sum(dim=1) / num_present for name, values in by_class.items()}
        if len(self.classes) == 2:
            metrics |= {f"{name}_positive": values[:, self.positive] for name, values in by_class.items()}
        return metrics


def positive_probability(logits: Tensor, positive: int) -> Tensor:
    """Return the probability (N,) float64 of one of two classes, for logits (N, 2)."""
    logits = logits.double()
    return (logits[:, positive] - logits[:, 1 - positive]).sigmoid()


def decided(logits: Tensor, positive: int, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the predictions (N,) int64 between two classes, and their probabilities (N,) float64.

    Args:
        logits: (N, 2) before softmax.
        positive: Number of the positive class.
        threshold: It is predicted where its probability is at least this.
    """
    probability = positive_probability(logits, positive)
    taken = probability >= threshold
    return torch.where(taken, positive, 1 - positive), torch.where(taken, probability, 1 - probability)


def area_under_curve(score: Tensor, positive: Tensor) -> float:
    """Return the share of (positive, negative) pairs in the right order; a tie counts one half (Mann, Whitney, 1947).

    Args:
        score: (N,) higher for what is held more positive.
        positive: (N,) bool, with at least one of each kind.
    """
    if not bool(torch.isfinite(score).all()):
        return float("nan")
    negatives, positives = score[~positive].sort().values, score[positive]
    below = torch.searchsorted(negatives, positives).sum()
    not_above = torch.searchsorted(negatives, positives, right=True).sum()
    return int(below + not_above) / (2 * len(positives) * len(negatives))


def calibration_error(score: Tensor, correct: Tensor) -> float:
    """Return the mean distance of confidence and accuracy over bins of equal width, weighted by their examples.

    Args:
        score: (N,) float64 probability of the prediction.
        correct: (N,) bool, whether the prediction was right.
    """
    if not bool(torch.isfinite(score).all()):
        return float("nan")
    _, confidence, right = calibration_bins(score, correct)
    return float((confidence - right).abs().sum()) / len(score)


def calibration_bins(score: Tensor, correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each of NUM_BINS bins of equal width, (low, high], its examples, their scores and the right ones.

    All three are sums, (NUM_BINS,) float64; divided by the first, the others are mean confidence and accuracy.

    Args:
        score: (N,) float64 probability of the prediction.
        correct: (N,) bool, whether the prediction was right.
    """
    bins = ((score * NUM_BINS).ceil().long() - 1).clamp(0, NUM_BINS - 1)
    zeros = torch.zeros(NUM_BINS, dtype=torch.float64)
    count, confidence, right = (
        zeros.index_add(0, bins, values.double()) for values in (torch.ones_like(score), score, correct)
    )
    return count, confidence, right


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and 0 where there is nothing to divide by."""
    return part / whole.clamp(min=1)
