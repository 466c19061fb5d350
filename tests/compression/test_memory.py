import sys

import numpy as np
import pytest

from ptft.compression.memory import artefact_memory, peak_memory, probe_command
from ptft.compression.memory_probe import peak_bytes
from ptft.model.artefact import write_artefact

MIB = 1 << 20


def onnx_artefact(folder, width):
    """A matrix product by a (width, width) constant, as an artefact."""
    import onnx
    from onnx import helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((width, width), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", width])],
        [weight],
    )
    folder.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return write_artefact(folder, "onnxruntime", "fp32", "model.onnx", ["x"], ["y"])


def python(code):
    return [sys.executable, "-c", code]


def test_the_peak_grows_by_what_the_network_holds(tmp_path):
    told = []
    inputs = {"x": np.ones((32, 16), np.float32)}
    small = artefact_memory(onnx_artefact(tmp_path / "small", 16), inputs, threads=1, warn=told.append)
    wide = {"x": np.ones((32, 4096), np.float32)}
    large = artefact_memory(onnx_artefact(tmp_path / "large", 4096), wide, threads=1, warn=told.append)
    assert told == []
    assert large - small >= 64 * MIB  # 4096 x 4096 floats


def test_the_memory_of_the_process_that_asks_is_no_part_of_it():
    ballast = np.ones(32 * MIB)  # 256 MiB that are touched
    code = "from ptft.compression.memory_probe import *; print(report(0))"
    found = peak_memory(python(code), 60, pytest.fail)
    assert found < ballast.nbytes / 2
    assert peak_bytes() > ballast.nbytes


def test_the_probe_imports_no_torch(tmp_path):
    artefact = onnx_artefact(tmp_path / "model", 4)
    np.savez(tmp_path / "arrays.npz", x=np.ones((2, 4), np.float32))
    arguments = probe_command(artefact.folder, tmp_path / "arrays.npz", 1)[4:]
    code = f"""
import sys
from ptft.compression.memory_probe import main
main({arguments!r})
assert "torch" not in sys.modules and "onnxruntime" in sys.modules
"""
    assert peak_memory(python(code), 60, pytest.fail) > MIB


def test_an_array_that_is_a_pickle_is_refused(tmp_path):
    artefact = onnx_artefact(tmp_path / "model", 4)
    np.savez(tmp_path / "arrays.npz", x=np.array([{"a": 1}], dtype=object))
    told = []
    assert peak_memory(probe_command(artefact.folder, tmp_path / "arrays.npz", 1), 60, told.append) is None
    assert "allow_pickle=False" in told[0]


def test_the_last_line_that_tells_a_peak_counts():
    code = 'print(\'{"peak_bytes": 1}\'); print("[1]"); print(\'{"peak_bytes": 7, "before_bytes": 3}\'); print("bye")'
    assert peak_memory(python(code), 60, pytest.fail) == 7


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (python("print('nothing'); print('{}'); print('{\"peak_bytes\": true}')"), "said nothing"),
        (python("import sys; sys.exit('no such graph')"), "failed (1): no such graph"),
        (python("import os; os.kill(os.getpid(), 9)"), "signal 9"),
        (python("import time; time.sleep(60)"), "longer than 0.5 s"),
        (["/no/such/program"], "No such file"),
    ],
)
def test_a_process_without_a_figure_is_a_warning_with_its_reason(command, reason):
    told = []
    assert peak_memory(command, 0.5 if "sleep" in command[-1] else 60, told.append) is None
    assert len(told) == 1 and reason in told[0]
