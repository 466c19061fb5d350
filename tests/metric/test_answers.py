"""Metrics of answers: windows joined in any order, thresholds, both kinds of questions apart."""

import math
import random

import pytest
import torch

from ptft.errors import DataError
from ptft.metric.answers import AnswerMetrics, WindowAnswer, log_add, probability

TEXT = "the red cat sat on a blue mat"
WORDS = [(match, TEXT.index(match)) for match in ("red", "cat", "sat", "blue", "mat")]


def windows_of(index, golds, seed, most=3):
    """Return the windows of an example with random scores, and its gold answers with each."""
    draw = random.Random(seed)
    count = draw.randint(1, most)
    made = []
    for _ in range(count):
        answer, start = draw.choice(WORDS)
        made.append(
            WindowAnswer(
                index, count - 1, answer, start, draw.gauss(0, 2), draw.gauss(0, 2), draw.gauss(3, 1), draw.random()
            )
        )
    return [(window, golds) for window in made]


def examples(count=40):
    golds = [[], ["cat"], ["red cat", "blue"]]
    return [pair for index in range(count) for pair in windows_of(index, golds[index % 3], index)]


def evaluated(pairs, size, threshold=0.0):
    metrics, records = AnswerMetrics(threshold), []
    for start in range(0, len(pairs), size):
        windows, golds = zip(*pairs[start : start + size], strict=True)
        records.append(metrics.update(windows, golds))
    return metrics, {name: torch.cat([part[name] for part in records]) for name in records[0]}


@pytest.mark.parametrize("threshold", [None, 0.0, 0.7])
def test_the_best_span_over_all_windows_is_the_answer(threshold):
    pairs = examples()
    metrics, records = evaluated(pairs, 7, threshold)
    by_index = {}
    for window, golds in pairs:
        by_index.setdefault(window.index, (golds, []))[1].append(window)
    right = []
    for golds, windows in by_index.values():
        best = max(windows, key=lambda window: window.score)
        null = min(window.null_score for window in windows)
        chosen = "" if threshold is not None and null - best.score > threshold else best.answer
        right.append(float(chosen in golds or (not chosen and not golds)))
    assert metrics.compute()["exact"] == pytest.approx(sum(right) / len(right), abs=1e-12)
    assert records["index"].sort().values.tolist() == sorted(by_index)
    assert records["exact"].mean() == pytest.approx(metrics.compute()["exact"])


def test_any_order_and_any_cut_give_the_same_metrics():
    pairs = examples()
    whole, rows = evaluated(pairs, len(pairs))
    mixed = random.Random(1).sample(pairs, len(pairs))
    for size in (1, 7, 64):
        metrics, records = evaluated(mixed, size)
        for name, value in metrics.compute().items():
            assert value == pytest.approx(whole.compute()[name], abs=1e-12)
        assert metrics.best_threshold() == pytest.approx(whole.best_threshold(), abs=1e-12)
        order = records["index"].argsort()
        for name, values in records.items():
            assert torch.allclose(values[order].double(), rows[name].double(), rtol=1e-12, atol=1e-12)


def test_an_example_with_a_window_missing_does_not_count():
    pairs = [pair for pair in examples() if pair[0].left]
    first = pairs[0][0].index
    records = evaluated([pair for pair in pairs if pair is not pairs[0]], 5)[1]
    assert first not in records["index"].tolist()
    with pytest.raises(DataError, match="all windows"):
        evaluated(pairs[:1], 1)[0].compute()


def test_the_threshold_chosen_is_the_best_there_is():
    for seed in range(5):
        pairs = random.Random(seed).sample(examples(), 30)
        metrics, _ = evaluated([(w, g) for w, g in pairs if not w.left], 30)
        best = AnswerMetrics(metrics.best_threshold())
        best._joined = metrics._examples()
        for threshold in torch.linspace(-10, 10, 401).tolist():
            other = AnswerMetrics(threshold)
            other._joined = metrics._examples()
            assert best.compute()["f1"] >= other.compute()["f1"] - 1e-12
        assert math.isfinite(best.threshold)


def test_questions_with_and_without_an_answer_are_told_apart():
    metrics, records = evaluated(examples(), 9)
    values = metrics.compute()
    without = records["index"] % 3 == 0
    assert values["no_answer_accuracy"] == pytest.approx(float(records["null"][without].double().mean()))
    assert values["answer_f1"] == pytest.approx(float(records["f1"][~without].mean()))
    assert [row["class"] for row in metrics.table()] == ["answer", "no answer"]
    assert sum(row["support"] for row in metrics.table()) == len(without)
    low, high = metrics.intervals()["f1"]
    assert low <= values["f1"] <= high and "loss" not in metrics.intervals()


def test_where_there_always_is_an_answer_no_threshold_plays_a_part():
    metrics, records = evaluated([pair for pair in examples() if pair[1]], 9, threshold=None)
    assert not records["null"].any() and metrics.table() == []
    assert set(metrics.compute()) == {"f1", "exact", "loss"}


def test_groups_of_examples_and_pairs_of_evaluations_are_compared():
    metrics, records = evaluated(examples(), 9)
    rows = records["index"] < 20
    part = metrics.subset(rows)
    assert part.compute()["f1"] == pytest.approx(float(records["f1"][rows].mean()))
    strict, _ = evaluated(examples(), 9, threshold=-100.0)
    low, high = metrics.differences(strict)["f1"]
    assert low <= strict.compute()["f1"] - metrics.compute()["f1"] <= high


def test_probabilities_are_shares_of_all_there_is():
    assert log_add(1.0, -math.inf) == 1.0
    assert log_add(2.0, 3.0) == pytest.approx(math.log(math.exp(2) + math.exp(3)))
    assert probability(2.0, log_add(2.0, 2.0)) == pytest.approx(0.5)
    assert probability(-math.inf, -math.inf) == 0.0
