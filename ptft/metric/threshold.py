"""The threshold of a score from which an example is held positive: the best one on labelled examples."""

from typing import Literal

import torch
from torch import Tensor

Goal = Literal["f1", "balanced_accuracy"]
"""What is to be highest: F1 of the positive examples, or the mean of the recalls of both kinds."""
USUAL = 0.5
"""The threshold without a choice; of several that are equally good, the nearest to it."""


def best_threshold(score: Tensor, positive: Tensor, goal: Goal = "f1") -> float:
    """Return t such that holding `score >= t` positive is best; USUAL where there is nothing to choose by.

    It lies half-way between two neighbouring scores, so that rounding decides nothing.

    Args:
        score: (N,) in [0, 1], a probability.
        positive: (N,) bool.
        goal: What is to be highest.
    """
    total, positives = len(score), int(positive.sum())
    if not 0 < positives < total or not bool(torch.isfinite(score).all()):
        return USUAL
    score, order = score.double().sort(descending=True, stable=True)
    hits = positive[order].double().cumsum(0)
    taken = torch.arange(1, total + 1, dtype=torch.float64)
    following = torch.cat([score[1:], score.new_full((1,), -1.0)])
    if goal == "f1":
        value = 2 * hits / (taken + positives)
    else:
        value = (hits / positives + 1 - (taken - hits) / (total - positives)) / 2
    cuts = (score > following).nonzero()[:, 0]  # equal scores are taken together
    cuts = cuts[value[cuts] == value[cuts].max()]
    middle = ((score[cuts] + following[cuts]) / 2).clamp(min=0)  # 0: all are positive
    middle = torch.where(middle > following[cuts], middle, score[cuts])
    return float(middle[(middle - USUAL).abs().argmin()])
