"""The toys: unequal counts, several terms and an external teacher obey the contract of a task."""

import copy

import torch

from tests.task.harness import (
    assert_batch_size_changes_no_evaluation,
    assert_cutting_changes_no_gradient,
    gradient,
    overfit,
    total_loss,
)
from tests.task.toys import IGNORED, DistillationToy, TokenToy, image_batch, pieces, token_batch


def make(kind):
    torch.manual_seed(0)
    return kind().double()


def doubled(batch):
    return {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}


def test_token_weights_survive_any_cut_also_where_a_piece_hides_nothing():
    batch = token_batch(10)
    hidden = (batch["labels"] != IGNORED).sum(1)
    assert hidden[0] == 0 and len(set(hidden.tolist())) > 3
    assert_cutting_changes_no_gradient(make(TokenToy), batch)


def test_averaging_the_means_of_micro_batches_would_be_wrong():
    task, batch = make(TokenToy), token_batch(10)
    whole = gradient(task, batch, "model", 10)["model.token_head.weight"]
    task.zero_grad()
    for piece in pieces(batch, 2):
        (total_loss(task, piece, "model") / 5).backward()
    assert not torch.allclose(whole, task.model.token_head.weight.grad, rtol=1e-2, atol=1e-5)


def test_the_token_toy_learns_one_batch_by_heart():
    first, last = overfit(make(TokenToy), token_batch(12))
    assert last < 0.01 * first


def test_the_token_toy_evaluates_the_same_at_any_batch_size():
    metrics = assert_batch_size_changes_no_evaluation(make(TokenToy), token_batch(70))[0]
    assert set(metrics) == {"token_loss", "pair_accuracy"}


def test_the_distillation_toy_survives_any_cut_and_evaluates_the_same():
    task = make(DistillationToy).train()
    assert_cutting_changes_no_gradient(task, doubled(image_batch(9)))
    assert_batch_size_changes_no_evaluation(task, doubled(image_batch(70)))


def test_the_teacher_stays_as_it_is_while_the_student_learns():
    task, batch = make(DistillationToy), doubled(image_batch(16))
    before = copy.deepcopy(task.teacher.state_dict())
    first, last = overfit(task, batch)
    assert all(torch.equal(value, before[name]) for name, value in task.teacher.state_dict().items())
    assert not task.teacher.training and task.model.training
    assert not any(name.startswith("teacher") for name in task.parameters_of("model"))
    assert last < first


def test_a_student_without_labels_comes_to_agree_with_its_teacher():
    task, batch = DistillationToy(label_weight=0.0).double(), doubled(image_batch(16))
    first, last = overfit(task, batch)
    assert last < 0.01 * first
    outputs = task(batch)
    assert torch.equal(outputs["logits"].argmax(1), outputs["teacher_logits"].argmax(1))
