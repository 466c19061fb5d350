"""Multi-label metrics against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, log_loss, precision_score, recall_score

from ptft.errors import DataError
from ptft.metric.multi_label import MultiLabelMetrics, average_precision

NAMES = ("a", "b", "c", "d", "e")


def case(seed, size=40):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(size, 5, generator=generator) * 2).round(decimals=seed % 3)  # ties
    target = (torch.rand(size, 5, generator=generator) < torch.tensor([0.5, 0.2, 0.1, 0.9, 0.0])).float()
    return logits, target


def evaluated(logits, target, size=10**9, **settings):
    metrics = MultiLabelMetrics(NAMES, **settings)
    for start in range(0, len(target), size):
        metrics.update(logits[start : start + size], target[start : start + size])
    return metrics


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_metrics_agree_with_scikit_learn(seed):
    logits, target = case(seed)
    metrics = evaluated(logits, target)
    found, score, truth = metrics.compute(), logits.double().sigmoid().numpy(), target.numpy()
    given = score >= 0.5
    for average in ("micro", "macro"):
        # Macro means leave out labels that occur on neither side, as scikit-learn's `labels=` does.
        present = [k for k in range(5) if truth[:, k].any() or given[:, k].any()]
        for name, reference in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
            expected = reference(truth, given, average=average, labels=present, zero_division=0)
            assert found[f"{name}_{average}"] == pytest.approx(expected, abs=1e-12)
    assert found["exact_match"] == accuracy_score(truth, given)
    expected = [average_precision_score(truth[:, k], score[:, k]) for k in range(5) if truth[:, k].any()]
    assert found["average_precision"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert found["loss"] == pytest.approx(
        np.mean([log_loss(truth[:, k], score[:, k], labels=[0, 1]) for k in range(5)])
    )
    assert [row["support"] for row in metrics.table()] == truth.sum(0).tolist()


def test_average_precision_counts_equal_scores_together():
    assert average_precision(torch.tensor([0.5, 0.5, 0.1]), torch.tensor([True, False, False])) == 0.5
    assert np.isnan(average_precision(torch.rand(3), torch.zeros(3, dtype=torch.bool)))


def test_metrics_and_intervals_are_the_same_at_any_batch_size():
    logits, target = case(1)
    whole = evaluated(logits, target)
    for size in (1, 7):
        assert evaluated(logits, target, size).compute() == whole.compute()
        assert evaluated(logits, target, size).intervals() == whole.intervals()


def test_intervals_hold_the_values_and_differences_are_paired():
    logits, target = case(2, 300)
    first, second = evaluated(logits, target), evaluated(logits + 3 * target - 1.5, target)
    for name, (low, high) in first.intervals().items():
        assert low < first.compute()[name] < high
    for name, (low, high) in first.differences(second).items():
        assert low < second.compute()[name] - first.compute()[name] < high
    assert first.subset(torch.ones(300, dtype=torch.bool)).compute() == first.compute()
    with pytest.raises(ValueError, match="same labels"):
        first.differences(evaluated(logits, 1 - target))


def test_each_label_follows_its_own_threshold():
    logits, target = case(3)
    chosen = evaluated(logits, target).best_thresholds()
    plain, better = evaluated(logits, target), evaluated(logits, target, thresholds=torch.tensor(chosen))
    for before, after in zip(plain.table(), better.table(), strict=True):
        assert after["f1"] >= before["f1"] and after["average_precision"] == pytest.approx(
            before["average_precision"], nan_ok=True
        )
    assert better.compute()["f1_macro"] > plain.compute()["f1_macro"]


def test_an_evaluation_without_examples_is_refused():
    with pytest.raises(DataError, match="no example"):
        MultiLabelMetrics(NAMES).compute()
