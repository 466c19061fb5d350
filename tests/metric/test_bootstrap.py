"""Bootstrap intervals against closed forms."""

import pytest
import torch

from ptft.metric.bootstrap import cell_intervals, mean_intervals
from ptft.metric.classification import ClassificationMetrics


def test_interval_of_a_mean_is_close_to_the_normal_one():
    values = torch.randn(2_000, 2, generator=torch.Generator().manual_seed(0)).double() * torch.tensor([1.0, 5.0])
    for (low, high), column in zip(mean_intervals(values), values.unbind(1), strict=True):
        half = 1.96 * float(column.std()) / 2_000**0.5
        assert (high - low) / 2 == pytest.approx(half, rel=0.1)
        assert (high + low) / 2 == pytest.approx(float(column.mean()), abs=0.1 * half)


def test_drawing_cells_equals_drawing_examples():
    logits, label = torch.randn(3_000, 4), torch.randint(4, (3_000,))
    metrics = ClassificationMetrics("abcd")
    metrics.update(logits, label)
    drawn = metrics.intervals()["accuracy"]
    ((low, high),) = mean_intervals((logits.argmax(1) == label).double()[:, None])
    assert drawn == pytest.approx((low, high), abs=0.003)


def test_intervals_hold_the_value_and_are_the_same_each_time():
    metrics = ClassificationMetrics([str(number) for number in range(10)])
    logits, label = torch.randn(250, 10), torch.randint(10, (250,))
    metrics.update(logits + 2 * torch.eye(10)[label], label)
    values, intervals = metrics.compute(), metrics.intervals()
    assert intervals == metrics.intervals()
    assert set(intervals) == set(values) - {"auroc", "expected_calibration_error"}
    for name, (low, high) in intervals.items():
        assert low < values[name] < high, name


def test_resamples_move_no_global_random_state():
    values = torch.rand(20, 1)
    before = torch.random.get_rng_state()
    mean_intervals(values)
    cell_intervals(torch.tensor([3, 4]), lambda counts: {"share": counts[:, 0] / counts.sum(1)})
    assert torch.equal(before, torch.random.get_rng_state())


def test_one_cell_gives_an_interval_of_width_zero():
    assert cell_intervals(torch.tensor([9]), lambda counts: {"share": counts[:, 0] / 9.0}) == {"share": (1.0, 1.0)}
