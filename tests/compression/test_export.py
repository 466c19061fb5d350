"""Exports: any number of examples and tokens, folded batch norms, no idle bytes, evaluations through the artefact."""

import onnx
import pytest
import torch
from torch import nn

from ptft.compression import export
from ptft.compression.behind import with_network
from ptft.compression.export import check_exportable, difference, export_onnx, export_program
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError, PtftError
from ptft.model.artefact import ArtefactNetwork
from ptft.model.text.gpt import gpt
from ptft.task.classification import Classification
from ptft.task.multi_label import MultiLabel
from ptft.task.regression import Regression
from ptft.task.text.causal import Causal
from ptft.task.text.masked import Masked
from ptft.task.text.pretraining import Pretraining
from tests.compression.exports import TEXT_SPEC, exported, text_batch, trained
from tests.task.harness import evaluate
from tests.task.text import toys as text_toys
from tests.task.toys import SPEC, TinyNet, image_batch


@pytest.mark.parametrize(("kind", "shapes"), [("vgg", [1, 3, 50]), ("bert", [(1, 5), (3, 24), (7, 2)])])
def test_any_number_of_examples_and_tokens_gives_what_torch_gives(kind, shapes):
    task, batch, artefact = exported(kind)
    twin = with_network(task, ArtefactNetwork(artefact, 1))
    for shape in shapes:
        if kind == "bert":
            other = text_batch(*shape, seed=3)
        else:
            other = {name: value[:shape] for name, value in batch.items()}
        with torch.inference_mode():
            assert difference(task(other)["logits"], twin(other)["logits"]) < 1e-4


def test_batch_norms_are_folded_and_nothing_idle_is_in_the_file():
    _, _, artefact = exported("vgg")
    model = onnx.load(artefact.path)
    assert {node.op_type for node in model.graph.node} <= {"Conv", "Relu", "MaxPool", "ReduceMean", "Reshape", "Gemm"}
    assert not model.metadata_props and not model.graph.value_info and not model.doc_string
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert [node.name for node in model.graph.node if node.op_type == "Gemm"] == ["hidden.0.0/Gemm", "head/Gemm"]
    weights = sum(len(one.raw_data) for one in model.graph.initializer)
    assert artefact.bytes - weights < 3_000
    names = [place.dim_param for one in model.graph.input for place in one.type.tensor_type.shape.dim]
    assert names[0] == "batch"


def test_a_program_of_torch_export_gives_the_same_at_another_size(tmp_path):
    task = Classification(TinyNet(), SPEC).eval()
    export_program(task, image_batch(4), tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    image = image_batch(9)["image"]
    torch.testing.assert_close(program(image), task.model(image))


def test_a_network_whose_export_differs_is_refused(tmp_path, monkeypatch):
    class Louder(nn.Module):
        def forward(self, *inputs):
            return 2 * real(*inputs)

    task = Classification(TinyNet(), SPEC).eval()
    real = task.model
    monkeypatch.setattr(export, "ArtefactNetwork", lambda *given, **named: Louder())
    with pytest.raises(PtftError, match="gives something else than torch: 1 of the largest output"):
        export_onnx(task, image_batch(4), tmp_path)


def test_a_network_that_torch_cannot_trace_is_refused_with_a_reason(tmp_path):
    class Wild(TinyNet):
        def forward(self, image):
            return super().forward(image) * (2 if bool(image.sum() > 0) else 3)

    with pytest.raises(PtftError, match="Wild cannot be exported as a program"):
        export_program(Classification(Wild(), SPEC).eval(), image_batch(4), tmp_path / "model.pt2")


def test_a_recurrent_network_has_no_program(tmp_path):
    task, batch = trained("lstm")
    with pytest.raises(PtftError, match="take the ONNX file"):
        export_program(task, batch, tmp_path / "model.pt2")


def test_a_missing_package_is_told_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("ptft.compression.onnx_file.PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match="pip install no_such_package"):
        check_exportable(Classification(TinyNet(), SPEC))


def vision_tasks():
    values = DataSpec(kind="image", shape=(1, 6, 6), target="value", value_mean=10.0, value_std=2.0)
    labels = DataSpec(kind="image", shape=(1, 6, 6), classes=("a", "b", "c"), target="labels")
    batch, network = image_batch(20), TinyNet()
    some = (torch.rand(20, 3, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    yield "logits", Classification(network, SPEC, test_time_flips=True), batch
    yield "logits", MultiLabel(network, labels), batch | {"label": some}
    yield "value", Regression(TinyNet(1), values), batch | {"label": 10 + torch.randn(20)}


def language_tasks():
    lengths = [3, 17, 5, 40, 9, 30]
    for kind, output in ((Masked, "masked"), (Pretraining, "pretraining")):
        task = kind(text_toys.TokenNet(output), text_toys.spec(output))
        batch = text_toys.batch_of(lengths, pairs=output == "pretraining")
        yield output, task, task.transform(batch, text_toys.draws_for(batch))
    spec = text_toys.spec("causal")
    task, batch = Causal(gpt(spec, layers=1, width=32, heads=2), spec, sample_tokens=0), text_toys.batch_of(lengths)
    yield "causal", task, task.transform(batch, text_toys.draws_for(batch))


def word_tasks():
    from tests.task.text import test_question_answering as answers
    from tests.task.text import test_token_classification as tags

    yield "tags", tags.make_task().float(), tags.batch_of(tags.rows(9))
    yield "span", answers.make().float(), answers.batch_of()


@pytest.mark.parametrize("tasks", [vision_tasks, language_tasks, word_tasks])
def test_an_evaluation_through_the_artefact_equals_the_eager_one(tasks, tmp_path):
    torch.manual_seed(0)
    opened = {}  # the same network need not be exported twice
    for name, task, batch in tasks():
        task.eval()
        if name not in opened:
            opened[name] = ArtefactNetwork(export_onnx(task, batch, tmp_path / name), 1)
        twin = with_network(task, opened[name])
        for size in (1, 4, len(batch["index"])):
            expected, found = evaluate(task, batch, size), evaluate(twin, batch, size)
            torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-4)
            assert found[3].keys() == expected[3].keys()
        if name == "causal":
            goes_on_writing(task.model, twin.model, batch["input_ids"][:2, :3])


@torch.inference_mode()
def goes_on_writing(network, twin, tokens):
    expected, cache = network.next_token(tokens)
    found, seen = twin.next_token(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    new = expected.argmax(1, keepdim=True)
    expected, found = network.next_token(new, cache)[0], twin.next_token(new, seen)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_text_network_of_the_task_keeps_its_attention():
    task, _, _ = exported("bert")
    assert task.model.attention == "sdpa" and task.spec is TEXT_SPEC
