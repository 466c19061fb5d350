"""Metrics of regression against scikit-learn and scipy."""

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

from ptft.errors import DataError
from ptft.metric.regression import RegressionMetrics

REFERENCES = {
    "mse": mean_squared_error,
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
    "r2": r2_score,
    "spearman": lambda label, prediction: spearmanr(label, prediction).statistic,
}


def evaluated(prediction, label, size=10**9):
    metrics = RegressionMetrics()
    for start in range(0, len(label), size):
        metrics.update(prediction[start : start + size], label[start : start + size])
    return metrics


def case(size=60):
    label = (torch.randn(size).double() * 3 + 1000).round()  # ties, far from 0
    return label + torch.randn(size).double().round(decimals=1), label


def test_metrics_agree_with_references():
    prediction, label = case()
    found = evaluated(prediction, label).compute()
    assert found.keys() == REFERENCES.keys()
    for name, reference in REFERENCES.items():
        assert found[name] == pytest.approx(reference(label, prediction), rel=1e-9)


def test_metrics_and_intervals_are_the_same_at_any_batch_size():
    prediction, label = case()
    whole = evaluated(prediction, label)
    for size in (1, 7):
        assert evaluated(prediction, label, size).compute() == whole.compute()
        assert evaluated(prediction, label, size).intervals() == whole.intervals()
    for name, (low, high) in whole.intervals().items():
        assert low < whole.compute()[name] < high


def test_what_does_not_vary_has_neither_a_share_nor_a_correlation():
    found = evaluated(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 3.0]))
    assert found.compute() == {"mse": 2.5, "mae": 1.5, "rmse": 2.5**0.5} and "r2" not in found.intervals()
    assert "spearman" not in evaluated(torch.ones(3), torch.arange(3.0)).compute()


def test_differences_are_paired_and_subsets_stand_for_themselves():
    prediction, label = case(200)
    first, second = evaluated(prediction, label), evaluated((prediction + label) / 2, label)
    for name, (low, high) in first.differences(second).items():
        assert low < second.compute()[name] - first.compute()[name] < high < 0
    rows = torch.arange(200) < 50
    assert first.subset(rows).compute() == evaluated(prediction[:50], label[:50]).compute()
    with pytest.raises(ValueError, match="same labels"):
        first.differences(evaluated(prediction, label + 1))


def test_an_evaluation_without_examples_is_refused():
    with pytest.raises(DataError, match="no example"):
        RegressionMetrics().compute()
