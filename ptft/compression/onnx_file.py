"""ONNX files: what every step that writes one does with it - read it, name its parts, leave out what is idle, save it.

Source: the ONNX specification, docs/IR.md. A file has nodes, initialisers (the weights) and much that only tools read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptft.errors import ConfigError
from ptft.runtime import files

MODEL = "model.onnx"
LARGEST = 2_000_000_000
"""Bytes of one file; a protocol buffer ends at 2 GiB."""
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the exporter tells the modules that a node comes from."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_packages() -> None:
    """See that all packages are there that write and run ONNX files.

    Raises:
        ConfigError: One is not.
    """
    from importlib.util import find_spec

    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ConfigError(
            f"exporting needs {' and '.join(missing)}, not installed here; pip install {' '.join(missing)}"
        )


def load(path: Path) -> Any:
    """Return the model (`onnx.ModelProto`) of a file, with the weights that lie beside it, if any do."""
    import onnx

    return onnx.load(str(path))


def save(model: Any, folder: Path) -> Path:
    """Write a model as one file `model.onnx` - weights beside it only if it would be larger than 2 GB - and return it.

    The weights lie in the order of their names, so that the same network gives the same bytes.
    """
    import onnx

    path = folder / MODEL
    if model.ByteSize() < LARGEST:
        files.write(path, model.SerializeToString(deterministic=True))
    else:
        onnx.save(model, str(path), save_as_external_data=True, location=f"{MODEL}.data")
    return path


def name_nodes(model: Any) -> None:
    """Name each node by the module it comes from and its operator: `blocks.0.0/Conv`, `head/Gemm_2`."""
    seen: dict[str, int] = {}
    for node in model.graph.node:
        scopes = next((one.value for one in node.metadata_props if one.key == _SCOPES), "")
        places = [place for place in re.findall(r"'([^']*)'", scopes)[:-1] if place]  # the last is torch's own name
        name = f"{places[-1] if places else ''}/{node.op_type}"
        seen[name] = seen.get(name, 0) + 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def strip(model: Any) -> None:
    """Leave out what no runtime reads - source lines, shapes that are found anew - and constants that are not used."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:], model.functions[:]
    model.doc_string = graph.doc_string = ""
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    used |= {name for node in graph.node for name in _inner(node)}
    idle = [one for one in graph.initializer if one.name not in used]
    for one in idle:
        graph.initializer.remove(one)


def shorten_names(model: Any) -> None:
    """Give nodes no names and tensors short ones, but for inputs and outputs: in a small network they weigh much."""
    graph = model.graph
    if any(_inner(node) for node in graph.node):
        return  # graphs within a node see the tensors around it
    kept = {one.name for one in (*graph.input, *graph.output)} | {""}
    names: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in kept else names.setdefault(name, _word(len(names)))

    for node in graph.node:
        node.name = ""
        for row in (node.input, node.output):
            renamed = [short(name) for name in row]
            del row[:]
            row.extend(renamed)
    for one in graph.initializer:
        one.name = short(one.name)


def rename_axes(model: Any, dynamic: Mapping[str, Mapping[int, str]]) -> None:
    """Give the open axes of inputs and outputs the names that a task knows them by.

    Args:
        model: The model.
        dynamic: For each input, its open axes by name.
    """
    names: dict[str, str] = {}
    for one in model.graph.input:
        for axis, name in dynamic.get(one.name, {}).items():
            names.setdefault(one.type.tensor_type.shape.dim[axis].dim_param, name)
    for one in (*model.graph.input, *model.graph.output):
        for place in one.type.tensor_type.shape.dim:
            if place.dim_param:
                place.dim_param = names.get(place.dim_param, place.dim_param)


def _word(number: int) -> str:
    """Return a name that no input or output has."""
    return f"_{number:x}"


def _inner(node: Any) -> list[str]:
    """Return the names that graphs within a node read."""
    graphs = [one.g for one in node.attribute if one.HasField("g")]
    return [name for graph in graphs for inner in graph.node for name in (*inner.input, *_inner(inner))]
