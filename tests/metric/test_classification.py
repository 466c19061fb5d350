"""Classification metrics against scikit-learn, torchmetrics and closed forms."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

from ptft.errors import DataError
from ptft.metric.classification import ClassificationMetrics


def evaluate(logits, label, batch_size=10**9):
    metrics = ClassificationMetrics([f"class {number}" for number in range(logits.shape[1])])
    for start in range(0, len(label), batch_size):
        metrics.update(logits[start : start + batch_size], label[start : start + batch_size])
    return metrics


def random_case(seed):
    """Cases with few examples, absent classes, ties and confident mistakes."""
    generator = np.random.default_rng(seed)
    num_classes, num_examples = int(generator.integers(2, 12)), int(generator.integers(1, 60))
    logits = generator.normal(size=(num_examples, num_classes)) * generator.choice([0.1, 1, 10])
    if seed % 3 == 0:
        logits = logits.round()
    label = generator.integers(0, generator.integers(1, num_classes + 1), size=num_examples)
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(label)


def accurate_log_probs(logits):
    """To seven digits also next to 1: rounding must not decide between equal probabilities."""
    shifted = logits - logits.max(1, keepdims=True)
    others = np.exp(shifted)
    np.put_along_axis(others, shifted.argmax(1)[:, None], 0, 1)
    return (shifted - np.log1p(others.sum(1, keepdims=True))).astype(np.float32)


def reference(logits, label):
    scores, num_classes = logits.double().softmax(1).numpy(), logits.shape[1]
    label, prediction = label.numpy(), logits.numpy().argmax(1)
    macro = precision_recall_fscore_support(label, prediction, average="macro", zero_division=0)
    names = ["precision_macro", "recall_macro", "f1_macro"]
    expected = {"accuracy": accuracy_score(label, prediction), **dict(zip(names, macro[:3], strict=True))}
    expected["loss"] = log_loss(label, scores, labels=range(num_classes)) if scores.min() > 1e-14 else None
    ranks = accurate_log_probs(logits.double().numpy())
    areas = [roc_auc_score(label == c, ranks[:, c]) for c in range(num_classes) if 0 < (label == c).sum() < len(label)]
    if areas:
        expected["auroc"] = np.mean(areas)
    return expected


@pytest.mark.filterwarnings("ignore")
def test_two_hundred_random_cases_agree_with_scikit_learn():
    for seed in range(200):
        logits, label = random_case(seed)
        found = evaluate(logits, label).compute()
        for name, value in reference(logits, label).items():
            if value is not None:
                assert found[name] == pytest.approx(value, abs=1e-12), (seed, name)
        assert ("auroc" in found) == (len(label.unique()) > 1), seed


def test_top5_agrees_with_scikit_learn_and_is_left_out_below_five_classes():
    logits, label = torch.randn(50, 8), torch.randint(8, (50,))
    expected = top_k_accuracy_score(label, logits, k=5, labels=range(8))
    assert evaluate(logits, label).compute()["top5_accuracy"] == pytest.approx(expected, abs=1e-12)
    assert evaluate(torch.randn(9, 5), torch.randint(5, (9,))).compute()["top5_accuracy"] == 1.0
    few = evaluate(torch.randn(9, 4), torch.randint(4, (9,)))
    assert "top5_accuracy" not in few.compute() and "top5_accuracy" not in few.intervals()


def test_table_agrees_with_scikit_learn_also_for_absent_classes():
    logits, label = torch.randn(40, 6), torch.randint(4, (40,))
    rows = evaluate(logits, label).table()
    expected = precision_recall_fscore_support(label, logits.argmax(1), labels=range(6), zero_division=0)
    for name, column in zip(["precision", "recall", "f1", "support"], expected, strict=True):
        assert [row[name] for row in rows] == pytest.approx(list(column), abs=1e-12)
    assert [row["class"] for row in rows] == [f"class {number}" for number in range(6)]


def test_area_under_curve_agrees_with_scikit_learn_one_versus_rest():
    logits, label = torch.randn(80, 4), torch.randint(4, (80,))
    expected = roc_auc_score(label, logits.double().softmax(1), multi_class="ovr", average="macro")
    assert evaluate(logits, label).compute()["auroc"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow  # importing torchmetrics takes seconds
def test_calibration_error_agrees_with_torchmetrics():
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, label = torch.randn(500, 7) * 3, torch.randint(7, (500,))
    found = evaluate(logits, label).compute()["expected_calibration_error"]
    assert found == pytest.approx(float(multiclass_calibration_error(logits, label, 7, n_bins=15)), abs=1e-6)


def test_calibration_error_agrees_with_its_definition():
    logits, label = torch.randn(500, 7) * 3, torch.randint(7, (500,))
    found = evaluate(logits, label).compute()["expected_calibration_error"]
    score, prediction = (array.numpy() for array in logits.double().softmax(1).max(1))
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (score > low) & (score <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(score[inside].mean() - (prediction == label.numpy())[inside].mean())
    assert found == pytest.approx(expected, abs=1e-12)


def test_metrics_intervals_and_table_are_identical_at_any_batch_size():
    logits, label = torch.randn(200, 10), torch.randint(10, (200,))
    whole = evaluate(logits, label)
    for batch_size in (1, 7, 64):
        cut = evaluate(logits, label, batch_size)
        assert cut.compute() == whole.compute()
        assert cut.intervals() == whole.intervals()
        assert cut.table() == whole.table()


def test_computing_in_between_or_twice_changes_nothing():
    logits, label = torch.randn(60, 5), torch.randint(5, (60,))
    metrics = evaluate(logits[:30], label[:30])
    metrics.compute()
    metrics.update(logits[30:], label[30:])
    assert metrics.compute() == metrics.compute() == evaluate(logits, label).compute()


def test_a_million_low_precision_examples_neither_overflow_nor_drift():
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]], dtype=torch.float16).repeat(500_000, 1)
    label = torch.tensor([0, 0]).repeat(500_000)
    metrics = ClassificationMetrics(["a", "b"])
    metrics.update(logits, label)
    found = metrics.compute()
    assert found["accuracy"] == 0.5
    assert found["loss"] == pytest.approx(np.log1p(np.exp(-3.0)) + 1.5, abs=1e-12)
    assert metrics.table()[0]["support"] == 1_000_000


def test_logits_that_are_not_numbers_give_metrics_that_are_not_numbers():
    metrics = evaluate(torch.tensor([[float("nan"), 0.0], [1.0, 2.0]]), torch.tensor([0, 1]))
    found = metrics.compute()
    assert np.isnan([found["loss"], found["auroc"], found["expected_calibration_error"]]).all()
    assert np.isnan(metrics.intervals()["loss"]).all()


def test_an_evaluation_without_examples_is_refused():
    with pytest.raises(DataError, match="no example"):
        ClassificationMetrics(["a", "b"]).compute()
