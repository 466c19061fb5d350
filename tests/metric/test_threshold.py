"""The threshold chosen on validation: the best of all there are, and what happens where there is nothing to choose."""

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from ptft.metric.classification import ClassificationMetrics
from ptft.metric.threshold import USUAL, best_threshold

MEASURES = {"f1": f1_score, "balanced_accuracy": balanced_accuracy_score}


@pytest.mark.parametrize("goal", MEASURES)
def test_no_other_threshold_is_better(goal):
    generator = torch.Generator().manual_seed(0)
    for _ in range(15):
        score = torch.rand(25, generator=generator, dtype=torch.float64)
        score = (score * 8).round() / 8  # ties
        positive = torch.rand(25, generator=generator) < 0.3 + 0.4 * score
        threshold = best_threshold(score, positive, goal)
        values = [MEASURES[goal](positive, score >= t) for t in torch.linspace(0, 1, 33)]
        assert MEASURES[goal](positive, score >= threshold) == pytest.approx(max(values))


def test_it_lies_between_scores_and_near_the_middle():
    score = torch.tensor([0.1, 0.2, 0.9, 0.95])
    assert best_threshold(score, torch.tensor([False, False, True, True])) == pytest.approx(0.55)
    assert best_threshold(score, torch.tensor([True, True, True, False])) == 0  # F1: hold all positive


def test_where_nothing_can_be_chosen_it_is_the_usual_one():
    for score, positive in (
        ([0.2, 0.8], [True, True]),
        ([0.2, 0.8], [False, False]),
        ([0.2, float("nan")], [True, False]),
    ):
        assert best_threshold(torch.tensor(score), torch.tensor(positive)) == USUAL


def test_metrics_follow_a_threshold_and_name_the_positive_class():
    logits, label = torch.randn(60, 2), torch.randint(2, (60,))
    for positive in (0, 1):
        metrics = ClassificationMetrics(["a", "b"], positive=positive, threshold=0.3)
        prediction, score = metrics.update(logits, label)
        probability = logits.double().softmax(1)
        assert torch.equal(prediction == positive, probability[:, positive] >= 0.3)
        torch.testing.assert_close(score, probability.gather(1, prediction[:, None])[:, 0])
        found = metrics.compute()
        assert found["f1_positive"] == pytest.approx(f1_score(label, prediction, pos_label=positive))
        assert found["auroc"] == ClassificationMetrics.compute(plain(logits, label))["auroc"]
        assert metrics.subset(torch.ones(60, dtype=torch.bool)).compute() == found


def plain(logits, label):
    metrics = ClassificationMetrics(["a", "b"])
    metrics.update(logits, label)
    return metrics
