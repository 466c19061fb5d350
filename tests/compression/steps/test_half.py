"""fp16 and bf16: half the file, weights rounded as torch rounds them, nearly the same answers."""

import numpy as np
import onnx
import pytest
import torch

from ptft.compression.behind import with_network
from ptft.compression.export import difference
from ptft.compression.half import store_half
from ptft.compression.steps.bf16 import Bf16
from ptft.compression.steps.fp16 import Fp16
from ptft.model.artefact import ArtefactNetwork, read_artefact
from tests.compression.exports import exported
from tests.compression.workshop import TinyWorkshop

STEPS = {"fp16": (Fp16, torch.float16, 2e-3), "bf16": (Bf16, torch.bfloat16, 2e-2)}


@pytest.mark.parametrize("precision", STEPS)
@pytest.mark.parametrize("kind", ["vgg", "bert"])
def test_the_file_is_half_as_large_and_the_answers_are_nearly_the_same(kind, precision, tmp_path):
    task, batch, artefact = exported(kind)
    step, _, tolerance = STEPS[precision]
    made = step().apply(task, artefact, tmp_path, TinyWorkshop(task, batch))
    assert read_artefact(tmp_path).precision == made.precision == precision
    assert made.bytes < 0.6 * artefact.bytes
    with torch.inference_mode():
        expected, found = task(batch)["logits"], with_network(task, ArtefactNetwork(made, 1))(batch)["logits"]
    assert difference(expected, found) < tolerance


@pytest.mark.parametrize("precision", STEPS)
def test_weights_are_rounded_as_torch_rounds_them(precision):
    values = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    model = matrix(values.numpy())
    assert store_half(model, precision) == 0
    (half,) = model.graph.initializer
    expected = values.to(STEPS[precision][1])
    assert half.raw_data == expected.view(torch.int16).numpy().tobytes()


def test_a_tensor_beyond_the_reach_of_fp16_stays_fp32():
    model = matrix(np.full((8, 8), 1e6, np.float32))
    assert store_half(model, "fp16") == 1
    assert model.graph.initializer[0].data_type == onnx.TensorProto.FLOAT
    assert store_half(matrix(np.full((8, 8), 1e6, np.float32)), "bf16") == 0


def matrix(values):
    given = [onnx.helper.make_tensor_value_info("x", 1, ["batch", 8])]
    made = [onnx.helper.make_tensor_value_info("y", 1, ["batch", 8])]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    weight = onnx.numpy_helper.from_array(values, "w")
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", given, made, [weight]))
