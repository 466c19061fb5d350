"""Regression: least squares on standardised labels, metrics and predictions in the labels' own unit."""

import dataclasses

import pytest
import torch

from ptft.data.data_module import DataSpec
from ptft.errors import DataError
from ptft.task.regression import Regression
from tests.task.harness import assert_batch_size_changes_no_evaluation, evaluate, overfit, total_loss
from tests.task.harness import assert_cutting_changes_no_gradient as assert_cuts_agree
from tests.task.toys import SPEC, TinyNet, image_batch

VALUES = DataSpec(kind="image", shape=(1, 6, 6), target="value", value_mean=1000.0, value_std=20.0)


def make(**settings):
    torch.manual_seed(0)
    return Regression(TinyNet(1), VALUES, **settings).double()


def batch_of(size):
    batch = image_batch(size)
    return batch | {"image": batch["image"].double(), "label": 1000 + 20 * torch.randn(size)}


def test_cutting_a_batch_changes_no_gradient():
    assert_cuts_agree(make(), batch_of(10))


def test_the_loss_is_the_squared_error_of_standardised_labels():
    task, batch = make(), batch_of(9)
    label = (batch["label"].double() - 1000) / 20
    expected = torch.nn.functional.mse_loss(task.model(batch["image"])[:, 0], label)
    torch.testing.assert_close(total_loss(task, batch, "model"), expected)
    raw = total_loss(make(standardised=False), batch, "model")
    torch.testing.assert_close(
        raw, torch.nn.functional.mse_loss(task.model(batch["image"])[:, 0], batch["label"].double())
    )


def test_one_batch_is_learnt_by_heart():
    first, last = overfit(make(), batch_of(12), steps=100)
    assert last < 0.05 * first


def test_evaluation_is_the_same_at_any_batch_size_and_in_the_unit_of_the_labels():
    task, batch = make(), batch_of(70)
    metrics, intervals, _, records = assert_batch_size_changes_no_evaluation(task, batch)
    assert next(iter(metrics)) == Regression.headline.name and Regression.headline.name in intervals
    torch.testing.assert_close(records["prediction"], task.model(batch["image"])[:, 0].detach() * 20 + 1000)
    assert metrics["mse"] == pytest.approx(float((records["prediction"] - records["target"]).square().mean()))
    assert task.predict(batch, [{}] * 70)[3] == {"prediction": float(records["prediction"][3])}


def test_the_largest_errors_are_shown_first():
    task, batch = make(), batch_of(30)
    records = evaluate(task, batch, 7)[3]
    worst = int((records["prediction"] - records["target"]).abs().argmax())
    assert int(task.exhibits(records)[0].index[0]) == worst


def test_labels_that_do_not_vary_are_not_divided_by():
    assert Regression(TinyNet(1), dataclasses.replace(VALUES, value_std=0.0)).scale == 1


def test_classes_are_refused():
    with pytest.raises(DataError, match="task=classification"):
        Regression(TinyNet(), SPEC)
