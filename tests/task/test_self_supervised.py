"""Rotation and contrastive learning: no labels to train, neighbours to be judged by."""

import pytest
import torch
from torch import nn

from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError, DataError
from ptft.task.vision.contrastive import Contrastive
from ptft.task.vision.features import WatchedByNeighbours
from ptft.task.vision.rotation import Rotation, rotations
from tests.task.harness import (
    assert_batch_size_changes_no_evaluation,
    assert_cutting_changes_no_gradient,
    evaluate,
    overfit,
)
from tests.task.toys import SPEC, UNLABELLED, TinyNet, image_batch, rows


def make(kind, spec=SPEC, **settings):
    torch.manual_seed(0)
    return kind(TinyNet(), spec, **settings).double()


def doubled(batch):
    return {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}


# ---- Rotation ------------------------------------------------------------------------------------------------------


def test_each_image_is_turned_by_quarter_turns_side_by_side():
    image = torch.rand(3, 2, 4, 4)
    turned = rotations(image)
    for number in range(3):
        for turns in range(4):
            assert torch.equal(turned[4 * number + turns], image[number].rot90(turns, (1, 2)))


def test_rotation_counts_four_images_for_each_and_needs_no_labels():
    task, batch = make(Rotation), doubled(image_batch(5, labels=False))
    assert task.count(batch, "model") == {"cross_entropy": 20} and not task.labelled
    assert task(batch)["logits"].shape == (20, 4) and task(batch)["features"].shape == (5, 48)
    assert_cutting_changes_no_gradient(task, batch)


def test_rotation_learns_one_batch_by_heart():
    first, last = overfit(make(Rotation), doubled(image_batch(8)))
    assert last < 0.01 * first


def test_rotation_evaluates_the_same_at_any_batch_size():
    batch = doubled(image_batch(80))
    train = rows(batch, 0, 30) | {"index": torch.arange(1000, 1030)}
    metrics, intervals, table, records = assert_batch_size_changes_no_evaluation(make(Rotation), batch, train)
    assert {"accuracy", "neighbour_accuracy", "loss"} <= set(metrics)
    assert set(intervals) == {"accuracy", "neighbour_accuracy"}
    assert [row["class"] for row in table] == ["0", "90", "180", "270"]
    assert records["index"].tolist() == [number for number in range(80) for _ in range(4)]
    assert (records["prediction"] == records["label"]).double().mean() == pytest.approx(metrics["accuracy"], abs=1e-12)


def test_rotation_without_classes_or_neighbours_reports_rotations_only():
    for task in (make(Rotation, UNLABELLED), make(Rotation, neighbour_examples=0)):
        metrics = evaluate(task, doubled(image_batch(9, labels=False)), 4)[0]
        assert "accuracy" in metrics and "neighbour_accuracy" not in metrics


def test_rotation_refuses_images_that_are_not_square():
    with pytest.raises(ConfigError, match="square"):
        Rotation(TinyNet(), DataSpec(kind="image", shape=(1, 4, 9)))


# ---- Contrastive ---------------------------------------------------------------------------------------------------


def test_views_and_images_take_the_two_ways_through_the_network():
    task = make(Contrastive, projector_features=7)
    batch = doubled(image_batch(5, views=2))
    assert (task.views, task.splittable, task.labelled) == (2, False, False)
    assert task(batch)["projections"].shape == (5, 2, 7) and task.count(batch, "model") == {"nt_xent": 10}
    first = task.model(batch["views"][:, 0])[0]
    torch.testing.assert_close(task(batch)["projections"][:, 0], first)
    image = doubled(image_batch(3))
    hidden = torch.tanh(task.model.block(torch.tanh(task.model.stem(image["image"].flatten(1)))))
    torch.testing.assert_close(task(image)["features"], hidden)


def test_contrastive_learning_learns_one_batch_by_heart():
    first, last = overfit(make(Contrastive, temperature=0.1), doubled(image_batch(16, views=2, labels=False)))
    assert last < 0.05 * first


def test_contrastive_evaluates_the_same_at_any_batch_size():
    task, train = make(Contrastive), doubled(image_batch(60, seed=1))
    train["index"] += 500
    metrics, intervals, _, records = assert_batch_size_changes_no_evaluation(task, doubled(image_batch(80)), train)
    assert set(metrics) == {"neighbour_accuracy", "effective_rank"} and set(intervals) == {"neighbour_accuracy"}
    right = (records["prediction"] == records["label"]).double().mean()
    assert float(right) == metrics["neighbour_accuracy"] > 0.4  # three classes, chance is a third


def test_no_more_training_examples_are_embedded_than_asked_for():
    task, train = make(Contrastive, neighbour_examples=10), doubled(image_batch(60, seed=1))
    evaluate(task, doubled(image_batch(4)), 7, train)
    assert task._neighbours.index.tolist() == list(range(10))


def test_unlabelled_training_examples_are_passed_over():
    task, train = make(Contrastive, neighbour_examples=10), doubled(image_batch(60, seed=1))
    train["label"][:45] = -1
    evaluate(task, doubled(image_batch(4)), 7, train)
    assert task._neighbours.index.tolist() == list(range(45, 55))
    train["label"][:] = -1
    with pytest.raises(DataError, match="no labelled example"):
        evaluate(task, doubled(image_batch(4)), 7, train)


def test_without_a_train_split_there_is_a_clear_error():
    with pytest.raises(DataError, match="'train'"):
        evaluate(make(Contrastive), doubled(image_batch(4)), 4)


def test_without_classes_the_headline_is_the_effective_rank():
    task = make(Contrastive, UNLABELLED)
    metrics, intervals, _, records = evaluate(task, doubled(image_batch(9, labels=False)), 4)
    assert task.headline.name == "effective_rank" and set(metrics) == {"effective_rank"} and intervals == {}
    assert set(records) == {"index"}
    assert make(Contrastive).headline.name == "neighbour_accuracy"


# ---- Both ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Rotation, Contrastive])
def test_only_the_head_is_replaced_and_the_export_has_none(kind):
    task = make(kind)
    names = {name for name in task.state_dict() if not name.startswith("model.head.")}
    assert names == {f"model.{part}.{kind}" for part in ("stem", "block") for kind in ("weight", "bias")}
    batch = doubled(image_batch(4))
    torch.testing.assert_close(task.export()["encoder"].module(batch["image"]), task(batch)["features"])


@pytest.mark.parametrize("kind", [Rotation, Contrastive])
def test_a_model_that_does_not_tell_its_parts_is_refused(kind):
    with pytest.raises(ConfigError, match="parts"):
        kind(nn.Linear(36, 3), SPEC)


def test_what_such_a_task_predicts_of_a_row_are_its_features():
    features = torch.tensor([[0.1, -2.0], [1 / 3, 0.0]], dtype=torch.float32)
    told = WatchedByNeighbours.decode(None, {"features": features}, {"index": torch.tensor([1, 0])}, [{}, {}])
    assert told == [{"features": [0.3333333, 0.0]}, {"features": [0.1, -2.0]}]
