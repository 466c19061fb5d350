"""Dynamic int8: a quarter of the file with embeddings and all, answers that stay, and a row of a table by hand."""

import numpy as np
import onnx
import onnx.reference
import pytest
import torch

from ptft.compression.behind import with_network
from ptft.compression.export import difference
from ptft.compression.integers import quantise_tables
from ptft.compression.steps.int8_dynamic import Int8Dynamic
from ptft.errors import ConfigError
from ptft.model.artefact import ArtefactNetwork
from tests.compression.exports import exported, trained
from tests.compression.workshop import TinyWorkshop


@pytest.mark.parametrize(("kind", "share"), [("bert", 0.32), ("lstm", 0.35)])
def test_the_file_shrinks_and_predictions_stay(kind, share, tmp_path):
    task, batch, artefact = exported(kind)
    step = Int8Dynamic()
    step.check(task, task.spec)
    made = step.apply(task, artefact, tmp_path, TinyWorkshop(task, batch))
    assert made.precision == "int8" and made.bytes < share * artefact.bytes
    twin = with_network(task, ArtefactNetwork(made, 1))
    with torch.inference_mode():
        for size in (1, 7, 48):
            few = {name: value[:size] for name, value in batch.items()}
            expected, found = task(few)["logits"], twin(few)["logits"]
            assert difference(expected, found) < 0.1
            assert (expected.argmax(1) == found.argmax(1)).float().mean() > 0.95


def test_each_row_of_a_table_has_a_scale_of_its_own():
    table = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32) * np.logspace(-3, 1, 50)[:, None]
    ids = np.arange(50)[::-1].copy()
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["t", "ids"], ["y"], name="gather")], "g", [make("ids", 7, ["n"])],
        [make("y", 1, ["n", 32])], [onnx.numpy_helper.from_array(table.astype(np.float32), "t")],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    quantise_tables(model)
    (found,) = onnx.reference.ReferenceEvaluator(model).run(None, {"ids": ids})
    half_a_step = np.abs(table).max(axis=1) / 127 / 2
    assert (np.abs(found - table[ids]) <= half_a_step[ids][:, None] * 1.001).all()


def test_a_network_of_convolutions_is_refused():
    task, _ = trained("vgg")
    with pytest.raises(ConfigError, match="steps/int8_static"):
        Int8Dynamic().check(task, task.spec)
