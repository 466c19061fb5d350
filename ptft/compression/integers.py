"""What of an ONNX network becomes int8, and in which order its nodes run quickest so, for ONNX Runtime on a CPU.

Measured in ONNX Runtime 1.32 on AVX2: a 3x3 convolution over one channel takes six times as long in int8 as in fp32,
and int8 pooling twenty times as long where it has no int8 convolution on both sides; others gain.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ptft.compression import onnx_file
from ptft.errors import ConfigError
from ptft.model.artefact import Artefact, write_artefact

FEWEST_WEIGHTS = 1024
"""Smaller linear layers stay as they are: they weigh nothing, and the last one decides the classes."""
SHORTEST_KERNEL = 32
"""Weights of one output of a convolution; shorter ones, such as those over the image itself, are slower in int8."""
_PAIR = {"Relu", "MaxPool"}
_FOLLOWERS = ("Relu", "Clip", "MaxPool")
"""Stay in the integers of the layer before them."""


def check_patterns(patterns: Sequence[str]) -> None:
    """Refuse what is no regular expression.

    Raises:
        ConfigError: One is none.
    """
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"exclude={pattern} is no regular expression: {error}") from None


def choose_nodes(model: Any, exclude: Sequence[str]) -> list[str]:
    """Return the names of the nodes that are to be int8; all layers where none is large enough to be worth it.

    Args:
        model: An `onnx.ModelProto`.
        exclude: Regular expressions of nodes that are not.

    Raises:
        ConfigError: An expression matches no node, or nothing is left.
    """
    names = [node.name for node in model.graph.node]
    for pattern in exclude:
        if not any(re.search(pattern, name) for name in names):
            known = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
            raise ConfigError(f"exclude={pattern} matches no node of the network; the layers are {', '.join(known)}")
    barred = {name for name in names if any(re.search(pattern, name) for pattern in exclude)}
    chosen = _chosen(model, barred, small=False) or _chosen(model, barred, small=True)
    if not chosen:
        raise ConfigError("the network has no convolution or linear layer that could be int8; leave the step out")
    return chosen


def reorder(model: Any, chosen: Sequence[str]) -> None:
    """Put ReLU and pooling in the order that is quickest, which gives the same values, in place.

    After an int8 convolution the ReLU comes first and costs nothing, as its integers end at 0. After one that stays
    fp32 pooling comes first, and the ReLU is written as a leaky one of slope 0: ONNX Runtime would otherwise move the
    rounding before the pooling and pool integers where that is slow.
    """
    import onnx

    readers, makers = _readers(model), _makers(model)
    for node in model.graph.node:
        after = readers.get(node.output[0], [])
        if len(after) != 1 or {node.op_type, getattr(after[0], "op_type", "")} != _PAIR or len(node.output) > 1:
            continue
        before, second = makers.get(node.input[0]), after[0]
        if before is None or before.op_type != "Conv":
            continue
        first = "Relu" if before.name in chosen else "MaxPool"
        if node.op_type != first:
            _swap(node, second)
        if first == "MaxPool":
            second.op_type = "LeakyRelu"
            second.attribute.append(onnx.helper.make_attribute("alpha", 0.0))


def integer_convolutions(model: Any) -> list[str]:
    """Return the names of the convolutions whose weights are integers already, behind a DequantizeLinear."""
    weights = {one.name for one in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "Conv" and node.input[1] not in weights]


def quantise_tables(model: Any) -> None:
    """Turn tables of vectors (embeddings) into int8 with a scale a row, in place; a row is found, then multiplied."""
    import onnx

    tables = {one.name: one for one in model.graph.initializer if len(one.dims) == 2 and one.data_type == 1}
    nodes: list[Any] = []
    done: set[str] = set()
    for node in model.graph.node:
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
        if node.op_type != "Gather" or axis or node.input[0] not in tables:
            nodes.append(node)
            continue
        table, ids, output = node.input[0], node.input[1], node.output[0]
        rows, scales = f"{table}_int8", f"{table}_scale"
        if table not in done:
            done.add(table)
            values = onnx.numpy_helper.to_array(tables[table])
            scale = np.maximum(np.abs(values).max(axis=1, keepdims=True) / 127, 1e-12).astype(np.float32)  # (V, 1)
            integers = np.round(values / scale).astype(np.int8)
            model.graph.initializer.append(onnx.numpy_helper.from_array(integers, rows))
            model.graph.initializer.append(onnx.numpy_helper.from_array(scale, scales))
        make = onnx.helper.make_node
        nodes += [
            make("Gather", [rows, ids], [f"{output}_rows"], name=f"{node.name}_rows"),
            make("Cast", [f"{output}_rows"], [f"{output}_float"], name=f"{node.name}_float", to=1),
            make("Gather", [scales, ids], [f"{output}_scale"], name=f"{node.name}_scale"),
            make("Mul", [f"{output}_float", f"{output}_scale"], [output], name=f"{node.name}_product"),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _chosen(model: Any, barred: set[str], *, small: bool) -> list[str]:
    dims = {one.name: tuple(one.dims) for one in model.graph.initializer}
    makers = _makers(model)
    chosen: list[str] = []
    for node in model.graph.node:  # in the order of their running
        before = [makers.get(name) for name in node.input]
        inside = [one is not None and one.name in chosen for one in before]
        if node.name in barred:
            continue
        if node.op_type == "Conv" and node.input[1] in dims:
            groups = next((one.i for one in node.attribute if one.name == "group"), 1)
            wanted = small or groups > 1 or int(np.prod(dims[node.input[1]][1:])) >= SHORTEST_KERNEL
        elif node.op_type in ("Gemm", "MatMul") and node.input[1] in dims:
            wanted = small or int(np.prod(dims[node.input[1]])) >= FEWEST_WEIGHTS
        elif node.op_type == "Add":  # of a residual block of convolutions
            wanted = all(one is not None for one in before) and any(inside) and _in_convolutions(before, inside)
        else:
            wanted = node.op_type in _FOLLOWERS and inside[0]
        if wanted:
            chosen.append(node.name)
    return chosen


def _in_convolutions(before: Sequence[Any], inside: Sequence[bool]) -> bool:
    kinds = ("Conv", "Add", *_FOLLOWERS)
    return all(within and one.op_type in kinds for one, within in zip(before, inside, strict=True))


def _makers(model: Any) -> dict[str, Any]:
    return {name: node for node in model.graph.node for name in node.output}


def _readers(model: Any) -> dict[str, list[Any]]:
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for output in model.graph.output:
        readers.setdefault(output.name, []).append(output)
    return readers


def _swap(first: Any, second: Any) -> None:
    """Let two nodes of one input and one output that follow each other change places."""
    import onnx

    one, other = onnx.NodeProto(), onnx.NodeProto()
    one.CopyFrom(first)
    other.CopyFrom(second)
    for node, content in ((first, other), (second, one)):
        node.op_type, node.name = content.op_type, content.name
        del node.attribute[:]
        node.attribute.extend(content.attribute)


def write_integers(model: Any, folder: Path, exported: Artefact, bits: int) -> Artefact:
    """Write an int8 model as small as it gets, with the bits of its weights among its properties."""
    import onnx

    onnx_file.strip(model)
    onnx_file.shorten_names(model)
    onnx.helper.set_model_props(model, {"weight_bits": str(bits)})
    path = onnx_file.save(model, folder)
    return write_artefact(folder, "onnxruntime", "int8", path.name, exported.inputs, exported.outputs)
