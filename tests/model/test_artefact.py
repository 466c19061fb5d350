"""Artefacts: read as written, refused when damaged, and networks behind tasks that evaluate as eager ones do."""

import copy
import json

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ptft.errors import CheckpointError, PtftError
from ptft.model.artefact import NAME, ArtefactNetwork, read_artefact, write_artefact


def product(folder, *, outputs=1):
    """Write a network of a 3 x 2 matrix over any number of rows, and its square as second output."""
    weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Mul", ["y", "y"], ["z"])][:outputs]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "yz"[:outputs]]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])]
    graph = helper.make_graph(nodes, "product", given, made, [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return write_artefact(folder, "onnxruntime", "fp32", "model.onnx", ("x",), tuple("yz"[:outputs]))


def test_what_is_written_is_read_back(tmp_path):
    written = product(tmp_path)
    assert read_artefact(tmp_path) == written
    assert written.bytes == (tmp_path / "model.onnx").stat().st_size
    assert written.path == tmp_path / "model.onnx"


def test_a_changed_byte_is_named(tmp_path):
    product(tmp_path)
    data = bytearray((tmp_path / "model.onnx").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"model\.onnx is damaged: its SHA-256"):
        read_artefact(tmp_path)
    (tmp_path / "model.onnx").write_bytes(bytes(data[:-1]))
    with pytest.raises(CheckpointError, match=r"model\.onnx is damaged: its size"):
        read_artefact(tmp_path)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"model\.onnx is missing"):
        read_artefact(tmp_path)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a\\b", "..", ""])
def test_files_outside_the_folder_are_refused(tmp_path, name):
    product(tmp_path)
    values = json.loads((tmp_path / NAME).read_text())
    values["files"][name] = values["files"]["model.onnx"]
    (tmp_path / NAME).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="outside its folder"):
        read_artefact(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"runtime": "pickle"}, {"file": "other.onnx"}, {"inputs": "x"}, {"outputs": [1]}, {"files": []}, {"precision": 4}],
)
def test_what_is_no_artefact_is_refused(tmp_path, change):
    product(tmp_path)
    values = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match="is damaged"):
        read_artefact(tmp_path)
    (tmp_path / NAME).write_text("{")
    with pytest.raises(CheckpointError, match="no JSON"):
        read_artefact(tmp_path)


def test_a_network_gives_what_the_graph_computes(tmp_path):
    network = ArtefactNetwork(product(tmp_path), threads=1)
    x = torch.randn(5, 3)
    expected = x @ torch.arange(6.0).reshape(3, 2)
    with torch.no_grad():
        torch.testing.assert_close(network(x), expected)
        torch.testing.assert_close(network(x.double()), expected)
        torch.testing.assert_close(copy.deepcopy(network).eval().to("cpu")(x), expected)
    assert list(network.parameters()) == [] and network.state_dict() == {}


def test_several_outputs_come_as_a_tuple_and_chosen_rows_of_the_first(tmp_path):
    network = ArtefactNetwork(product(tmp_path, outputs=2))
    x = torch.randn(4, 3)
    with torch.inference_mode():
        first, second = network(x)
    torch.testing.assert_close(second, first.square())


def test_a_gradient_is_refused_with_a_reason(tmp_path):
    network = ArtefactNetwork(product(tmp_path))
    outputs = network(torch.randn(2, 3))
    with pytest.raises(PtftError, match="no gradients"):
        outputs.sum().backward()


def test_a_graph_that_differs_from_what_the_artefact_says_is_refused(tmp_path):
    product(tmp_path)
    other = write_artefact(tmp_path, "onnxruntime", "fp32", "model.onnx", ("x",), ("logits",))
    with pytest.raises(CheckpointError, match="something else"):
        ArtefactNetwork(other)
