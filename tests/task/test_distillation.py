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
from ptft.model.text.bert import bert
from ptft.model.vision.vit import VisionTransformer
from ptft.task.classification import Classification
from ptft.task.distillation import Distillation
from ptft.task.likeness import even_places
from ptft.task.multi_label import MultiLabel
from ptft.task.regression import Regression
from ptft.task.task import Task
from ptft.task.text.causal import Causal
from ptft.task.text.masked import Masked
from ptft.task.text.pretraining import Pretraining
from ptft.task.text.question_answering import QuestionAnswering
from ptft.task.text.token_classification import TokenClassification
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
from tests.task.text import toys as texts

LENGTHS = [3, 17, 5, 40]


# ---- Students and teachers of every kind -----------------------------------------------------------------------------


class SpanNet(torch.nn.Module):
    """A TokenNet whose logits are two for each token, or as many as asked for."""

    def __init__(self, outputs=2):
        super().__init__()
        self.net, self.head = texts.TokenNet(), torch.nn.Linear(texts.VOCABULARY, outputs)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        return self.head(self.net(input_ids, attention_mask))


def classification(seed, **settings):
    torch.manual_seed(seed)
    return Classification(toys.TinyNet().double(), toys.SPEC, **settings), toys.image_batch(10)


def multi_label(seed):
    torch.manual_seed(seed)
    batch = toys.image_batch(10)
    batch["label"] = torch.nn.functional.one_hot(batch["label"], 3).double()
    return MultiLabel(toys.TinyNet().double(), dataclasses.replace(toys.SPEC, target="labels")), batch


def regression(seed):
    torch.manual_seed(seed)
    spec = dataclasses.replace(toys.SPEC, classes=(), target="value", value_mean=2.0 + seed, value_std=3.0)
    batch = toys.image_batch(10)
    batch["label"] = batch["label"].double()
    return Regression(toys.TinyNet(num_classes=1).double(), spec), batch


def language(kind, output):
    def make(seed):
        torch.manual_seed(seed)
        task = kind(texts.TokenNet(output).double(), texts.spec(output))
        batch = texts.batch_of(LENGTHS, pairs=output == "pretraining")
        return task, task.transform(batch, texts.draws_for(batch))

    return make


def tags(seed):
    torch.manual_seed(seed)
    spec = dataclasses.replace(texts.spec("tags"), target="tags", classes=("O", "B-X", "I-X"))
    batch = texts.batch_of(LENGTHS)
    labels = torch.randint(3, batch["input_ids"].shape, generator=torch.Generator().manual_seed(1))
    asked = batch["attention_mask"].bool() & (torch.arange(40) % 2 == 1)
    return TokenClassification(SpanNet(3).double(), spec), batch | {"labels": labels.masked_fill(~asked, -100)}


def answers(seed):
    torch.manual_seed(seed)
    batch = texts.batch_of(LENGTHS)
    last = torch.tensor(LENGTHS) - 1
    inside = (torch.arange(40) > 0) & (torch.arange(40) < last[:, None])
    batch |= {"start": last // 3, "end": last // 2, "windows": torch.ones(4, dtype=torch.long)}
    batch |= {"char_start": torch.zeros_like(inside, dtype=torch.long), "char_end": inside.long()}
    return QuestionAnswering(SpanNet().double(), dataclasses.replace(texts.spec("span"), target="span")), batch


KINDS = {
    "classification": classification,
    "weighted": lambda seed: classification(seed, class_weights={"a": 3.0}, label_smoothing=0.1),
    "multi_label": multi_label,
    "regression": regression,
    "masked": language(Masked, "masked"),
    "causal": language(Causal, "causal"),
    "pretraining": language(Pretraining, "pretraining"),
    "tags": tags,
    "answers": answers,
}


def pair(kind, **settings):
    """Return a distilled task, the plain one with the same weights, and a batch; all in float64."""
    (student, batch), (teacher, _) = KINDS[kind](0), KINDS[kind](1)
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    plain = copy.deepcopy(student)
    return Distillation(student, teacher, **settings), plain, batch


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


# ---- Inside ----------------------------------------------------------------------------------------------------------


def text_task(layers, width=16, heads=2, kind=Masked, output="masked", seed=0):
    torch.manual_seed(seed)
    facts = texts.spec(output)
    if kind is Classification:
        facts = dataclasses.replace(facts, target="class", classes=("a", "b"), output="classes")
    net = bert(facts, layers=layers, width=width, heads=heads, mlp=32, dropout=0.0)
    return kind(net, facts)


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
