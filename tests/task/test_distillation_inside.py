"""Distillation inside networks: hidden states and relations, whatever the depth and width of the two."""

import copy

import pytest
import torch

from ptft.model.vision.vit import VisionTransformer
from ptft.task.classification import Classification
from ptft.task.distillation import Distillation
from ptft.task.likeness import even_places
from ptft.task.text.masked import Masked
from tests.task import toys
from tests.task.harness import (
    assert_cutting_changes_no_gradient,
    overfit,
)
from tests.task.students import (
    LENGTHS,
    text_task,
)
from tests.task.text import toys as texts


@pytest.mark.parametrize("width", [16, 24])
@pytest.mark.parametrize("kind", [Masked, Classification])
def test_a_student_with_fewer_layers_learns_states_and_relations_too(kind, width):
    teacher, student = text_task(4, kind=kind, seed=1), text_task(2, width=width, kind=kind)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(8 if parameter.ndim == 2 else 1)  # as drawn, it relates all tokens alike
    task = Distillation(student, teacher, share=1.0, hidden=1.0, attention=1.0)
    batch = texts.batch_of(LENGTHS)
    batch = task.transform(batch, texts.draws_for(batch)) if kind is Masked else batch | {
        "label": torch.tensor([0, 1, 0, 1])
    }  # fmt: skip
    terms = {name: float(value.detach()) for name, value in task.loss(task(batch), batch, "model").sums.items()}
    assert terms["hidden_states"] > 0 and terms["attention_relations"] > 0
    assert_cutting_changes_no_gradient(task.double(), batch, sizes=(1, 3))
    task.float()
    first, last = overfit(task, batch, steps=20, lr=5e-3)
    assert last < 0.6 * first
    assert not any(module._forward_hooks for block in student.model.model.base_model.encoder.layer
                   for module in block.modules())  # fmt: skip


def test_relations_are_learnt_from_a_wider_teacher():
    teacher, student = text_task(3, width=24, seed=1), text_task(1)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(8 if parameter.ndim == 2 else 1)
    task = Distillation(student, teacher, share=1.0, attention=1e4)
    batch = texts.batch_of(LENGTHS)
    first, last = overfit(task, task.transform(batch, texts.draws_for(batch)), steps=40, lr=1e-2)
    assert last < 0.5 * first


def test_padding_changes_neither_states_nor_relations():
    task = Distillation(text_task(2), text_task(2, seed=1), share=0.0, hidden=1.0, attention=1.0).double()
    short, long = texts.batch_of(LENGTHS), texts.batch_of(LENGTHS, pad=7)
    short, long = (task.transform(batch, texts.draws_for(batch)) for batch in (short, long))
    for batch in (short, long):
        batch["input_ids"] = texts.batch_of(LENGTHS, pad=batch["input_ids"].shape[1] - 40)["input_ids"]
    first, second = (task(batch) for batch in (short, long))
    for name in ("hidden_states", "attention_relations"):
        torch.testing.assert_close(first[name], second[name])


@pytest.mark.parametrize("way", ["eager", "sdpa"])
def test_equal_networks_are_alike_inside_however_attention_is_worked_out(way):
    student = text_task(2).eval()
    teacher = copy.deepcopy(student)
    for task in (student, teacher):
        task.model.set_attention(way)
    task = Distillation(student, teacher, hidden=1.0, attention=1.0).eval()
    batch = texts.batch_of(LENGTHS)
    outputs = task(task.transform(batch, texts.draws_for(batch)))
    assert float(outputs["hidden_states"].detach()) == float(outputs["attention_relations"].detach()) == 0.0


def test_vision_transformers_of_other_width_and_depth_are_compared_inside():
    def vit(depth, width):
        return Classification(VisionTransformer(toys.SPEC, patch_size=2, depth=depth, heads=2, width=width, mlp=16),
                              toys.SPEC)  # fmt: skip

    task = Distillation(vit(2, 8), vit(3, 12), hidden=1.0, attention=1.0)
    sums = task.loss(task(toys.image_batch(5)), toys.image_batch(5), "model").sums
    assert float(sums["hidden_states"].detach()) > 0 and float(sums["attention_relations"].detach()) > 0


def test_blocks_are_mapped_evenly_and_the_last_to_the_last():
    assert even_places(3, 6) == [1, 3, 5]
    assert even_places(6, 6) == [0, 1, 2, 3, 4, 5]
    assert even_places(1, 12) == [11]
    assert even_places(4, 2) == [0, 0, 1, 1]
    assert all(even_places(own, theirs)[-1] == theirs - 1 for own in range(1, 13) for theirs in range(1, 13))
