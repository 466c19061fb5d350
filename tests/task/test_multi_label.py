"""Multi-label classification: sums that add up, thresholds that are followed, labels that are told."""

import pytest
import torch

from ptft.data.data_module import DataSpec
from ptft.errors import DataError
from ptft.task.multi_label import MultiLabel
from tests.task.harness import assert_batch_size_changes_no_evaluation, evaluate, overfit, total_loss
from tests.task.harness import assert_cutting_changes_no_gradient as assert_cuts_agree
from tests.task.toys import SPEC, TinyNet, image_batch

LABELS = DataSpec(kind="image", shape=(1, 6, 6), classes=("a", "b", "c"), target="labels")


def make(**settings):
    torch.manual_seed(0)
    return MultiLabel(TinyNet(), LABELS, **settings).double()


def batch_of(size):
    batch = image_batch(size)
    label = (torch.rand(size, 3, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    return batch | {"image": batch["image"].double(), "label": label}


@pytest.mark.parametrize("settings", [{}, {"class_weights": {"b": 3.0}}, {"focal_gamma": 2.0}])
def test_cutting_a_batch_changes_no_gradient(settings):
    assert_cuts_agree(make(**settings), batch_of(10))


def test_the_loss_is_the_mean_binary_cross_entropy():
    task, batch = make(class_weights={"b": 3.0}), batch_of(9)
    weight = torch.tensor([1.0, 3.0, 1.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        task.model(batch["image"]), batch["label"].double(), pos_weight=weight
    )
    torch.testing.assert_close(total_loss(task, batch, "model"), expected)


def test_one_batch_is_learnt_by_heart():
    first, last = overfit(make(), batch_of(12), steps=100)
    assert last < 0.05 * first


def test_evaluation_is_the_same_at_any_batch_size():
    metrics, intervals, table, records = assert_batch_size_changes_no_evaluation(make(), batch_of(70))
    assert next(iter(metrics)) == MultiLabel.headline.name and MultiLabel.headline.name in intervals
    assert [row["class"] for row in table] == list(LABELS.classes)
    assert torch.equal(records["given.b"] == 1, records["score.b"] >= 0.5)


def test_thresholds_chosen_on_validation_are_followed_by_metrics_and_decode():
    task, batch = make(threshold="auto"), batch_of(60)
    metrics = task.make_metrics()
    task.evaluation_step(task(batch), batch, metrics)
    assert task.decides
    task.decision = task.fit_decision(metrics)
    assert evaluate(task, batch, 7)[0]["f1_macro"] >= metrics.compute()["f1_macro"]
    told = task.predict(batch, [{}] * 60)
    probability = task.model(batch["image"]).sigmoid()
    for row, values in zip(told, probability.tolist(), strict=True):
        expected = {name for name, value in zip("abc", values, strict=True) if value >= task.decision[name]}
        assert set(row["prediction"]) == expected and set(row["probabilities"]) == set("abc")


def test_the_worst_examples_are_shown_with_their_labels():
    task, batch = make(), batch_of(30)
    gallery = task.exhibits(evaluate(task, batch, 7)[3])[0]
    first = int(gallery.index[0])
    assert gallery.captions[0].label == ", ".join(
        name for name, value in zip("abc", batch["label"][first].tolist(), strict=True) if value
    )


def test_data_of_one_class_each_are_refused():
    with pytest.raises(DataError, match="task=classification"):
        MultiLabel(TinyNet(), SPEC)
