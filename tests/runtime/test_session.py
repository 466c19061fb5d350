"""Sessions: the right runtime, inputs cast to what the graph wants, and reasons where a file cannot be opened."""

import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from ptft.errors import CheckpointError, ConfigError
from ptft.runtime.session import open_session


def adder(path):
    """Write a network that adds its two inputs of int64."""
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch"]) for name in ("b", "a")]
    made = [helper.make_tensor_value_info("sum", TensorProto.INT64, ["batch"])]
    graph = helper.make_graph([helper.make_node("Sub", ["a", "b"], ["sum"])], "adder", given, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def test_inputs_go_by_name_and_are_cast(tmp_path):
    session = open_session(adder(tmp_path / "model.onnx"), "onnxruntime", threads=1)
    assert session.inputs == ("b", "a") and session.outputs == ("sum",)
    (found,) = session.run({"a": np.array([5, 7], np.int32), "b": np.array([1.0, 2.0]), "unread": np.zeros(3)})
    np.testing.assert_array_equal(found, np.array([4, 5], np.int64))


def test_a_file_that_is_no_network_is_named(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(CheckpointError, match="there is no exported network"):
        open_session(path, "onnxruntime")
    path.write_bytes(b"no network")
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.onnx"):
        open_session(path, "onnxruntime")


def test_an_unknown_runtime_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="onnxruntime, openvino"):
        open_session(adder(tmp_path / "model.onnx"), "tensorrt")


def test_a_missing_runtime_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    monkeypatch.setattr("ptft.runtime.openvino_session.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'ptft\[openvino\]'"):
        open_session(adder(tmp_path / "model.onnx"), "openvino")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="pip install onnxruntime"):
        open_session(adder(tmp_path / "model.onnx"), "onnxruntime")
