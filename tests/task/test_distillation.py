"""Distillation around every task that can be distilled: gradients, the teacher's bits, what is handed on."""

import copy
import dataclasses
import hashlib
import inspect

import pytest
import torch

from ptft.data.data_module import DataSpec
from ptft.engine.ema import Ema
from ptft.engine.settings import EmaSettings
from ptft.engine.weights import own_tensors
from ptft.errors import ConfigError, DataError
from ptft.model.vision.vit import VisionTransformer
from ptft.task.classification import Classification
from ptft.task.distillation import Distillation
from ptft.task.task import Task
from ptft.task.text.masked import Masked
from ptft.task.text.question_answering import QuestionAnswering
from ptft.task.vision.contrastive import Contrastive
from ptft.task.vision.gan import GAN
from ptft.task.vision.rotation import Rotation
from tests.task import toys
from tests.task.harness import (
    assert_batch_size_changes_no_evaluation,
    assert_cutting_changes_no_gradient,
    evaluate,
    gradient,
    overfit,
    total_loss,
)
from tests.task.students import (
    KINDS,
    SpanNet,
    classification,
    pair,
    text_task,
)
from tests.task.text import toys as texts


def digest(module):
    state = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        state.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return state.hexdigest()


# ---- The loss --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_cutting_a_batch_changes_no_gradient(kind):
    task, _, batch = pair(kind, share=0.7, temperature=2.0)
    assert_cutting_changes_no_gradient(task, batch)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_share_the_gradients_are_exactly_those_of_the_plain_task(kind):
    task, plain, batch = pair(kind, share=0.0)
    expected = gradient(plain, batch, "model", 3)
    found = gradient(task, batch, "model", 3)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_whole_share_labels_play_no_part(kind):
    task, _, batch = pair(kind, share=1.0)
    expected = gradient(task, batch, "model", 100)
    if "label" in batch:
        other = {"label": (batch["label"] + 1) % 2}
    elif "start" in batch:
        other = {"start": batch["start"] * 0, "end": batch["end"] * 0}
    else:
        other = {"labels": torch.where(batch["labels"] >= 0, (batch["labels"] + 1) % 3, batch["labels"])}
    found = gradient(task, batch | other, "model", 100)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_equals_its_teacher_learns_nothing_from_it(kind):
    student, batch = KINDS[kind](0)
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    task = Distillation(student, copy.deepcopy(student), share=1.0).eval()
    assert float(total_loss(task, batch, "model").detach()) == 0.0
    assert all(not value.any() for value in gradient(task, batch, "model", 100).values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_weighted_sum_of_both(kind):
    whole, plain, batch = pair(kind, share=0.7)
    soft, _, _ = pair(kind, share=1.0)
    expected = 0.3 * total_loss(plain, batch, "model") + 0.7 * total_loss(soft, batch, "model")
    torch.testing.assert_close(total_loss(whole, batch, "model"), expected)


def test_numbers_are_compared_in_their_own_unit():
    task, _, batch = pair("regression", share=1.0)  # the two were standardised differently
    outputs = task(batch)
    own, known = outputs["value"] * 3 + 2, outputs["teacher.value"] * 3 + 3
    torch.testing.assert_close(total_loss(task, batch, "model"), ((own - known) / 3).square().mean())


def test_mixed_pictures_are_shown_to_the_teacher_too():
    task, _, batch = pair("classification", share=0.5)
    partner = torch.arange(10).flip(0)
    share = torch.full((10,), 0.3, dtype=torch.float64)
    mixed = batch | {"image": 0.3 * batch["image"] + 0.7 * batch["image"][partner], "label_share": share}
    mixed["partner_label"] = batch["label"][partner]
    torch.testing.assert_close(task(mixed)["teacher.logits"], task.teacher.model(mixed["image"]))
    assert task.mixed_labels
    assert_cutting_changes_no_gradient(task, mixed)


@pytest.mark.parametrize("kind", ["classification", "masked", "tags", "answers"])
def test_one_batch_is_learnt_by_heart(kind):
    task, _, batch = pair(kind, share=0.5)
    task.teacher.load_state_dict(task.task.state_dict())
    overfit(task.teacher, batch, steps=80)
    first, last = overfit(task, batch, steps=80)
    assert last < 0.1 * first


# ---- The teacher -----------------------------------------------------------------------------------------------------


def test_twenty_steps_with_adamw_and_an_average_change_no_bit_of_the_teacher():
    torch.manual_seed(0)
    norm = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 9), torch.nn.BatchNorm1d(9), torch.nn.ReLU(),
                               torch.nn.Dropout(0.5), torch.nn.Linear(9, 3))  # fmt: skip
    task = Distillation(Classification(copy.deepcopy(norm), toys.SPEC), Classification(norm, toys.SPEC))
    with torch.no_grad():
        task.teacher.model[1].weight.mul_(2)
    before, own = digest(task.teacher), digest(task.model)
    average = Ema(task, EmaSettings(), set(own_tensors(task)))
    optimizer = torch.optim.AdamW(task.parameters_of("model").values(), lr=1e-2)
    task.train()
    for step in range(20):
        assert task.training and task.model.training and not any(m.training for m in task.teacher.modules())
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=step % 2 == 0):
            loss = total_loss(task, toys.image_batch(16, seed=step), "model")
        loss.backward()
        optimizer.step()
        average.update(step)
    assert digest(task.teacher) == before and digest(task.model) != own
    assert all(parameter.grad is None for parameter in task.teacher.parameters())


def test_the_teacher_is_neither_trained_nor_saved():
    task, plain, _ = pair("weighted")
    assert own_tensors(task).keys() == own_tensors(plain).keys() == plain.state_dict().keys()
    assert task.parameters_of("model").keys() == plain.parameters_of("model").keys()


def test_without_gradients_the_teacher_is_not_asked(monkeypatch):
    task, plain, batch = pair("masked")
    monkeypatch.setattr(task.teacher, "full_outputs", None)
    found, expected = evaluate(task, batch, 4), evaluate(plain, batch, 4)
    assert found[0] == expected[0] and all(torch.equal(found[3][name], expected[3][name]) for name in expected[3])
    assert_batch_size_changes_no_evaluation(task, batch)


# ---- What is handed on -----------------------------------------------------------------------------------------------


def test_all_that_the_contract_names_is_handed_on():
    """Whatever is added to the contract of a task must be thought of here too."""
    own = {"full_outputs", "soft_count", "soft_loss", "parameters_of", "train", "forward"}
    named = {name for name, value in vars(Task).items() if not name.startswith("_") and
             (inspect.isfunction(value) or isinstance(value, property))}  # fmt: skip
    assert named - own <= set(vars(Distillation))
    settings = {name for name in vars(Task).get("__annotations__", {}) if not name.startswith("_")}
    plain = QuestionAnswering(SpanNet(), dataclasses.replace(texts.spec("span"), target="span"), null_answers=True)
    task = Distillation(plain, copy.deepcopy(plain))
    assert settings - {"external", "distils"} == {
        name for name in settings - {"external", "distils"} if getattr(task, name) == getattr(plain, name)
    }


def test_a_decision_is_written_through():
    plain, _ = classification(0)
    two = DataSpec(kind="image", shape=(1, 6, 6), classes=("a", "b"))
    plain = Classification(toys.TinyNet(2), two, threshold="auto")
    task = Distillation(plain, copy.deepcopy(plain))
    task.decision = {"threshold": 0.3}
    assert task.decides and plain.decision == task.decision == {"threshold": 0.3}
    assert task.make_metrics().threshold == 0.3


def test_the_mode_and_the_buffers_of_the_task_follow():
    torch.manual_seed(0)
    plain = Classification(toys.TinyNet(), toys.SPEC, test_time_flips=True, class_weights={"a": 2.0})
    task = Distillation(plain, copy.deepcopy(plain))
    task.eval()
    modes = {module: module.training for module in task.modules()}
    task.train()
    for module, training in modes.items():  # as an evaluation puts them back
        module.training = training
    assert not task.task.training
    assert task.train().task.training
    task.double()
    assert plain.weights.dtype == torch.float64 and task.weights is plain.weights
    copied = copy.deepcopy(task)
    assert copied.task is not plain and copied.task.model is copied.model


# ---- What does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [
    lambda: GAN(toys.TinyGAN(), toys.UNLABELLED),
    lambda: Contrastive(toys.TinyNet(), toys.UNLABELLED),
    lambda: Rotation(toys.TinyNet(), toys.UNLABELLED),
])  # fmt: skip
def test_a_task_without_common_outputs_is_refused(make):
    with pytest.raises(ConfigError, match="cannot be distilled"):
        Distillation(make(), make())


def test_a_teacher_that_does_not_fit_is_refused_with_both_named():
    student = Classification(toys.TinyNet(), toys.SPEC)

    def teacher(**changes):
        return Classification(toys.TinyNet(), dataclasses.replace(toys.SPEC, **changes))

    with pytest.raises(ConfigError, match=r"teacher's task is Masked and the student's Classification"):
        Distillation(student, text_task(1))
    with pytest.raises(DataError, match=r"other classes apart.*another order"):
        Distillation(student, teacher(classes=("b", "a", "c")))
    with pytest.raises(DataError, match=r"1 x 6 x 8.*1 x 6 x 6"):
        Distillation(student, teacher(shape=(1, 6, 8)))
    with pytest.raises(DataError, match=r"mean of 0\.500.*0\.400"):
        Distillation(student, teacher(mean=(0.5,)))
    with pytest.raises(DataError, match=r"data\.resize is crop of the teacher, None of the student"):
        Distillation(student, teacher(preprocessing={"resize": "crop"}))
    Distillation(student, teacher(mean=(0.405,), fingerprint="other"))


def test_another_tokenizer_is_refused():
    student = text_task(1)
    files = texts.tokenizer_files()
    teacher = Masked(student.model, texts.spec(files=files))
    with pytest.raises(
        DataError, match=r"teacher's tokenizer has 17 tokens \(SHA-256 [0-9a-f]{12}\), the student's 17"
    ):
        Distillation(student, teacher)
    with pytest.raises(DataError, match=r"reads 30 tokens at most.*data\.max_length=30"):
        Distillation(student, Masked(student.model, texts.spec(length=30)))


def test_networks_that_cannot_be_compared_inside_are_refused():
    def around(net):
        return Classification(net, toys.SPEC)

    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
    with pytest.raises(ConfigError, match=r"network of the student, Sequential, tells no blocks"):
        Distillation(around(flat), around(toys.TinyNet()), hidden=1.0)
    with pytest.raises(ConfigError, match=r"network of the teacher \(Linear\) has no layers that make queries"):
        vit = VisionTransformer(toys.SPEC, patch_size=2, depth=1, heads=2, width=8, mlp=16)
        Distillation(around(vit), around(toys.TinyNet()), attention=1.0)
    task = Distillation(around(toys.TinyNet(width=8)), around(toys.TinyNet(width=9)), hidden=1.0)
    with pytest.raises(ConfigError, match=r"blocks give \(8,\) and the teacher's \(9,\)"):
        task(toys.image_batch(4))
