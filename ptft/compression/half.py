"""Weights in 16 bits within an ONNX network that computes in fp32: half the file, the same speed.

fp16 has 11 significant bits up to 65,504; bf16 has 8 and the reach of fp32. ONNX Runtime turns them into fp32 as it
opens the file, but for embeddings, of which only the rows that are read are turned.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ptft.compression import onnx_file
from ptft.compression.step import Workshop
from ptft.model.artefact import Artefact, write_artefact

FEWEST = 16
"""Smaller tensors stay as they are: a node for the cast weighs more."""
_TYPES = {"fp16": ("FLOAT16", torch.float16), "bf16": ("BFLOAT16", torch.bfloat16)}


def write_half(exported: Artefact, folder: Path, precision: Literal["fp16", "bf16"], workshop: Workshop) -> Artefact:
    """Write an fp32 artefact with weights in 16 bits into an empty folder.

    Args:
        exported: The network in fp32.
        folder: Where.
        precision: Which 16 bits.
        workshop: Is told what a reader should know.
    """
    model = onnx_file.load(exported.path)
    if left := store_half(model, precision):
        workshop.warn(f"{precision}: {left} tensors reach beyond its largest number and stay fp32")
    onnx_file.strip(model)
    path = onnx_file.save(model, folder)
    workshop.say(f"{precision}: half the file; on a CPU ONNX Runtime computes in fp32, so it is no faster")
    return write_artefact(folder, "onnxruntime", precision, path.name, exported.inputs, exported.outputs)


def store_half(model: Any, precision: Literal["fp16", "bf16"]) -> int:
    """Store the weights of a model in 16 bits, in place, and return how many of them did not fit and stay fp32.

    Args:
        model: An `onnx.ModelProto` in fp32.
        precision: Which 16 bits.
    """
    import onnx

    kind, dtype = _TYPES[precision]
    left, halves = 0, {}
    for one in model.graph.initializer:
        if one.data_type != onnx.TensorProto.FLOAT or int(np.prod(one.dims)) < FEWEST:
            continue
        values = torch.from_numpy(onnx.numpy_helper.to_array(one).copy())
        if values.abs().max() > torch.finfo(dtype).max:
            left += 1
            continue
        bits = values.to(dtype).view(torch.int16).numpy().astype("<i2")
        half = onnx.TensorProto(name=f"{one.name}_{precision}", data_type=onnx.TensorProto.DataType.Value(kind))
        half.dims.extend(one.dims)
        half.raw_data = bits.tobytes()
        halves[one.name] = half
    _put_in(model, halves)
    return left


def _put_in(model: Any, halves: dict[str, Any]) -> None:
    """Let nodes read halves through a cast; of a table the cast comes behind the rows that are read."""
    import onnx

    make, single = onnx.helper.make_node, onnx.TensorProto.FLOAT
    nodes: list[Any] = []
    cast: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] in halves:
            output = node.output[0]
            node.input[0], node.output[0] = halves[node.input[0]].name, f"{output}_half"
            nodes += [node, make("Cast", [f"{output}_half"], [output], name=f"{node.name}_float", to=single)]
            continue
        for name in dict.fromkeys(node.input):
            if name in halves and name not in cast:
                cast.add(name)
                nodes.append(make("Cast", [halves[name].name], [name], name=f"{name}_float", to=single))
        nodes.append(node)
    kept = [one for one in model.graph.initializer if one.name not in halves]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*kept, *halves.values()])
