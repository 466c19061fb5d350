"""Two evaluations of the same examples: differences with paired intervals; one evaluation by group."""

import pytest
import torch

from ptft.metric.bootstrap import mean_intervals, paired_difference
from ptft.metric.classification import ClassificationMetrics, calibration_bins
from ptft.metric.neighbours import NeighbourMetrics, Neighbours

CLASSES = tuple("abcdef")


def made(logits, label):
    metrics = ClassificationMetrics(CLASSES)
    for rows in torch.arange(len(label)).split(64):
        metrics.update(logits[rows], label[rows])
    return metrics


@pytest.fixture
def sides():
    """Labels, and the logits of a classifier and of one that is mostly the same but a little better."""
    label = torch.randint(6, (700,))
    first = torch.randn(700, 6) + 1.0 * torch.eye(6)[label]
    return label, first, first + 0.3 * torch.randn(700, 6) + 0.2 * torch.eye(6)[label]


def test_a_difference_is_that_of_the_means_with_the_interval_of_the_differences():
    first, second = torch.rand(300).double(), torch.rand(300).double()
    value, low, high = paired_difference(first, second)
    assert value == pytest.approx(float(second.mean() - first.mean()))
    assert (low, high) == mean_intervals((second - first)[:, None])[0]


def test_paired_intervals_hold_the_difference_and_are_narrower_than_unpaired_ones(sides):
    label, *logits = sides
    first, second = (made(values, label) for values in logits)
    values = [metrics.compute() for metrics in (first, second)]
    alone = [metrics.intervals() for metrics in (first, second)]
    differences = first.differences(second)
    assert set(differences) == set(alone[0])
    for name, (low, high) in differences.items():
        assert low <= values[1][name] - values[0][name] <= high, name
        assert high - low < sum(side[name][1] - side[name][0] for side in alone), name


def test_the_interval_of_accuracy_is_that_of_a_bootstrap_over_examples(sides):
    label, *logits = sides
    right = [(values.argmax(1) == label).double() for values in logits]
    _, low, high = paired_difference(*right)
    found = made(logits[0], label).differences(made(logits[1], label))["accuracy"]
    assert found == pytest.approx((low, high), abs=0.006)


def test_a_side_against_itself_differs_in_nothing(sides):
    label, first, _ = sides
    assert set(made(first, label).differences(made(first, label)).values()) == {(0.0, 0.0)}


def test_other_labels_are_refused(sides):
    label, first, second = sides
    with pytest.raises(ValueError, match="same classes and labels"):
        made(first, label).differences(made(second, label.flip(0)))


def test_a_group_s_metrics_are_those_of_its_examples_alone(sides):
    label, logits, _ = sides
    rows = torch.rand(700) < 0.3
    group, alone = made(logits, label).subset(rows), made(logits[rows], label[rows])
    assert group.compute() == alone.compute()
    assert group.intervals() == alone.intervals() and group.table() == alone.table()


def test_neighbours_are_grouped_and_compared_too():
    features, label = torch.randn(40, 8), torch.randint(3, (40,))
    neighbours = Neighbours.embed(torch.randn(30, 8), torch.randint(3, (30,)), torch.arange(30), num_classes=3,
                                  num_neighbours=5)  # fmt: skip
    sides = []
    for shift in (0.0, 2.0):
        metrics = NeighbourMetrics(neighbours)
        metrics.update(features + shift, torch.arange(100, 140), label)
        sides.append(metrics)
    values = [side.compute()["neighbour_accuracy"] for side in sides]
    low, high = sides[0].differences(sides[1])["neighbour_accuracy"]
    assert low <= values[1] - values[0] <= high
    assert sides[0].subset(torch.ones(40).bool()).compute() == {"neighbour_accuracy": values[0]}


def test_bins_hold_every_example_once():
    score, correct = torch.rand(200).double(), torch.rand(200) < 0.5
    count, confidence, right = calibration_bins(score, correct)
    assert int(count.sum()) == 200
    assert float(confidence.sum()) == pytest.approx(float(score.sum()))
    assert int(right.sum()) == int(correct.sum())
    low, high = torch.arange(15) / 15, torch.arange(1, 16) / 15
    mean = confidence / count
    assert bool(((mean > low) & (mean <= high))[count > 0].all())
