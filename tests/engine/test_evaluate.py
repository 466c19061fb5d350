"""Evaluation is exact at any batch size and leaves no trace in training."""

import pytest
import torch

from ptft.data.data_module import BatchPlan
from ptft.engine.evaluate import evaluate
from ptft.runtime.precision import Precision
from tests.engine.reference import digits, digits_task

FP32 = Precision("fp32", torch.device("cpu"))


@pytest.fixture(scope="module")
def data():
    return digits()


def run(data, task, batch_size, **settings):
    return evaluate(task, data.evaluation_loaders(BatchPlan(batch_size=batch_size)), "val", FP32, **settings)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_any_batch_size_gives_the_same_metrics_and_records(data, batch_size):
    task = digits_task(data.spec)
    reference, result = run(data, task, 180), run(data, task, batch_size)
    assert result.metrics == pytest.approx(reference.metrics, abs=1e-6)
    assert torch.equal(result.records["index"], reference.records["index"])
    assert torch.equal(result.records["prediction"], reference.records["prediction"])
    assert result.num_examples == 180


def test_two_evaluations_are_equal_and_modes_come_back(data):
    task = digits_task(data.spec)
    task.train()
    task.model.head.eval()
    modes = {name: module.training for name, module in task.named_modules()}
    buffers = {name: buffer.clone() for name, buffer in task.named_buffers()}
    assert run(data, task, 64).metrics == run(data, task, 64).metrics
    assert {name: module.training for name, module in task.named_modules()} == modes
    assert all(torch.equal(buffers[name], buffer) for name, buffer in task.named_buffers())


def test_evaluation_moves_no_global_random_number(data):
    state = torch.get_rng_state()
    run(data, digits_task(data.spec), 64)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_validation_loss_is_plain_cross_entropy_without_smoothing(data):
    task = digits_task(data.spec).eval()
    assert task.label_smoothing > 0
    batch = next(iter(data.evaluation_loaders(BatchPlan(batch_size=1000))["val"]))
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(task(batch)["logits"].double(), batch["label"])
    assert run(data, task, 64).metrics["loss"] == pytest.approx(float(expected), abs=1e-6)


def test_intervals_hold_their_values_and_repeat(data):
    task = digits_task(data.spec)
    first, second = (run(data, task, 64, with_intervals=True) for _ in range(2))
    assert first.intervals == second.intervals
    for name, (low, high) in first.intervals.items():
        assert low <= first.metrics[name] <= high


def test_a_limit_looks_at_the_first_batches_only(data):
    assert run(data, digits_task(data.spec), 16, max_batches=2).num_examples == 32
