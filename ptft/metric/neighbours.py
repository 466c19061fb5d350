"""Nearest neighbours among embedded training examples: how good features are before any head is trained on them.

The k nearest by cosine similarity vote for their labels, weighted by exp(similarity / 0.07) as in Wu and others, arXiv
1805.01978, section 3.4, so that votes do not tie.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.metric.bootstrap import Interval, mean_intervals, paired_difference
from ptft.metric.effective_rank import MAX_EXAMPLES, effective_rank

TEMPERATURE = 0.07
BLOCK_NUMBERS = 4_000_000
"""Similarities worked out at a time: 16 MB."""


@dataclass(frozen=True)
class Neighbours:
    """Embedded examples with known labels.

    Attributes:
        features: (M, D) float32 of length 1.
        label: (M,) int64.
        index: (M,) int64, the examples' numbers.
        num_classes: The number of classes.
        num_neighbours: How many neighbours vote.
    """

    features: Tensor
    label: Tensor
    index: Tensor
    num_classes: int
    num_neighbours: int

    @classmethod
    def embed(
        cls, features: Tensor, label: Tensor, index: Tensor, *, num_classes: int, num_neighbours: int
    ) -> "Neighbours":
        """Remember examples by their features (M, D) of any length, labels (M,) and numbers (M,)."""
        return cls(F.normalize(features.float(), dim=1), label, index, num_classes, min(num_neighbours, len(label)))

    def vote(self, features: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the label voted for, (B,) int64, and its share of the weights, (B,) float32.

        An example does not vote for itself: one of the same number that also looks the same is left out (two splits may
        number their examples alike).

        Args:
            features: (B, D) of any length.
            index: (B,) the examples' numbers.
        """
        rows = max(1, BLOCK_NUMBERS // len(self.label))
        blocks = zip(torch.split(features, rows), torch.split(index, rows), strict=True)
        predictions, scores = zip(*(self._vote(*block) for block in blocks), strict=True)
        return torch.cat(predictions), torch.cat(scores)

    def _vote(self, features: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        similarity = F.normalize(features.float(), dim=1) @ self.features.T  # (B, M)
        itself = (index[:, None] == self.index) & (similarity > 0.999)
        similarity, nearest = similarity.masked_fill(itself, -1.0).topk(self.num_neighbours, dim=1)  # (B, k)
        weights = (similarity / TEMPERATURE).softmax(dim=1)
        votes = weights.new_zeros(len(features), self.num_classes).scatter_add_(1, self.label[nearest], weights)
        score, prediction = votes.max(dim=1)
        return prediction, score


class NeighbourMetrics:
    """Accuracy of a vote among neighbours, where there are labels, and the effective rank of the features."""

    def __init__(self, neighbours: Neighbours | None) -> None:
        """Start an evaluation; without `neighbours` only the rank is reported."""
        self.neighbours = neighbours
        self._correct: list[Tensor] = []
        self._features: list[Tensor] = []
        self._num_kept = 0

    def update(self, features: Tensor, index: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Take a batch in and return its predictions (B,) and their shares of the vote (B,), on the CPU.

        Args:
            features: (B, D).
            index: (B,) the examples' numbers.
            label: (B,) class numbers; needed where there are neighbours.
        """
        kept = features.detach()[: MAX_EXAMPLES - self._num_kept].float().cpu()
        self._features.append(kept)
        self._num_kept += len(kept)
        if self.neighbours is None or label is None:
            return None
        prediction, score = (values.cpu() for values in self.neighbours.vote(features, index))
        self._correct.append(prediction == label.cpu())
        return prediction, score

    def compute(self) -> dict[str, float]:
        """Return neighbour_accuracy (0 to 1), where there are labels, and effective_rank (1 to D)."""
        metrics = {"effective_rank": effective_rank(torch.cat(self._features))} if self._features else {}
        return ({"neighbour_accuracy": float(self._values().mean())} if self._correct else {}) | metrics

    def intervals(self) -> dict[str, Interval]:
        """Return the 95% interval of neighbour_accuracy."""
        return {"neighbour_accuracy": mean_intervals(self._values()[:, None])[0]} if self._correct else {}

    def table(self) -> list[dict[str, Any]]:
        """Return nothing: a vote has no per-class table."""
        return []

    def subset(self, rows: Tensor) -> "NeighbourMetrics":
        """Return metrics over the examples that `rows`, (N,) bool, marks; without the rank, which grows with them."""
        chosen = NeighbourMetrics(self.neighbours)
        chosen._correct = [torch.cat(self._correct)[rows]] if self._correct else []
        return chosen

    def differences(self, other: "NeighbourMetrics") -> dict[str, Interval]:
        """Return the 95% interval of `other`'s neighbour_accuracy minus this one, paired by example."""
        if not (self._correct and other._correct):
            return {}
        return {"neighbour_accuracy": paired_difference(self._values(), other._values())[1:]}

    def _values(self) -> Tensor:
        return torch.cat(self._correct).double()
