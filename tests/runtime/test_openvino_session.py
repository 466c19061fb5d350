import sys

import numpy as np
import pytest

from ptft.errors import CheckpointError, ConfigError
from ptft.runtime import openvino_session
from ptft.runtime.openvino_session import OpenVinoSession, import_nncf, import_openvino
from ptft.runtime.session import open_session

pytest.importorskip("onnx")


def installed():
    try:
        import_openvino()
    except ConfigError:
        pytest.skip("openvino is not installed")


def affine(path):
    """Write y = x w + b as ONNX, by hand."""
    from onnx import TensorProto, helper, numpy_helper

    weight, bias = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0.5, -1], np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    found = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "affine", [given], [found], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return weight, bias


def test_a_session_gives_what_the_arithmetic_gives_at_any_number_of_examples(tmp_path):
    installed()
    weight, bias = affine(tmp_path / "affine.onnx")
    session = open_session(tmp_path / "affine.onnx", "openvino", threads=1)
    assert isinstance(session, OpenVinoSession)
    assert (session.inputs, session.outputs) == (("x",), ("y",))
    kept = []
    for size in (1, 5, 2):
        values = np.random.default_rng(size).normal(size=(size, 3))  # float64: cast on the way
        kept.append((values, session.run({"x": values, "unused": values})[0]))
    for values, found in kept:  # later runs change no earlier output
        np.testing.assert_allclose(found, values @ weight + bias, rtol=1e-5, atol=1e-5)


def test_a_damaged_file_is_named(tmp_path):
    installed()
    with pytest.raises(CheckpointError, match="no exported network"):
        OpenVinoSession(tmp_path / "missing.xml")
    (tmp_path / "broken.xml").write_text("<net")
    with pytest.raises(CheckpointError, match=r"cannot read .*broken\.xml"):
        OpenVinoSession(tmp_path / "broken.xml")


def test_neither_package_can_report():
    installed()
    import_openvino()
    assert sys.modules["openvino_telemetry"] is None
    with pytest.raises(ImportError):
        import openvino_telemetry  # noqa: F401


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(openvino_session, "find_spec", lambda name: None)
    for name in ("openvino", "nncf"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for load in (import_openvino, import_nncf):
        with pytest.raises(ConfigError, match=r"ptft\[openvino\]"):
            load()
