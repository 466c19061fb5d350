"""What is read of other runs: initial weights - of a run, a checkpoint or a weights file - and records."""

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ptft.adapt.load import read_tensors
from ptft.adapt.lora import MARK
from ptft.command.published import published_as
from ptft.engine.average import averaged
from ptft.engine.checkpoint import CheckpointStore
from ptft.engine.run_dir import RunDirectory
from ptft.errors import CheckpointError
from ptft.model.exchange import Exchanges

INDEX = "model.safetensors.index.json"
"""What transformers writes beside weights in several files: `weight_map`, from names of tensors to files."""


def read_source(path: Path, network: nn.Module | None = None) -> tuple[Mapping[str, Tensor], tuple[str, ...] | None]:
    """Return the weights at a path and the label names they were trained on, if that is known.

    A run gives its `model/`, or its best checkpoint while it is not finished; a checkpoint gives its averaged weights,
    if it has some. A folder may be one of transformers: safetensors, whole or in parts, beside a config.json; a network
    of that library reads it by itself, as names in it change over the years.

    Raises:
        CheckpointError: There are no readable weights.
    """
    if path.is_file():
        entry = published_as(path.name)
        return _with_aliases(path), tuple(entry.meta["categories"]) if entry is not None else _labels(path.parent)
    step = re.fullmatch(r"step_(\d+)", path.name)
    run = path.parent.parent if step else path
    for folder in () if step and (run / "run.json").is_file() else (path, path / "model"):
        if isinstance(network, Exchanges) and _is_transformers(folder):
            return network.read_pretrained(folder), _labels(folder)
        if (folder / "model.safetensors").is_file():
            return _with_aliases(folder / "model.safetensors"), _labels(folder)
        if (folder / INDEX).is_file():
            return _in_parts(folder / INDEX), _labels(folder)
    if (run / "run.json").is_file():
        record = RunDirectory.reopen(run)
        if record.record["command"] == "compress":
            parent = (record.record.get("parents") or [{}])[0].get("name")
            raise CheckpointError(
                f"{run} was compressed, and an artefact is trained no further; start from the run that it came from: "
                f"init_from={parent}"
            )
        checkpoint = CheckpointStore(record.checkpoints, record.id).load_named(step[1] if step else "best")
        if any(MARK in name for name in checkpoint.tensors):
            raise CheckpointError(
                f"init_from={path}: the weights of an adapt=lora run stand in its model/ once it is finished; its "
                f"checkpoints hold the updates apart. Finish it: ptft {record.record['command']} resume={run}"
            )
        return {**checkpoint.tensors, **averaged(checkpoint.state)}, _labels(run / "model")
    raise CheckpointError(
        f"init_from={path}: no weights there; expected a run directory, a folder with model.safetensors, "
        "or a .safetensors or .pth file"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file of a run holds.

    Raises:
        CheckpointError: It holds no mapping.
    """
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise damaged(path, error) from None
    if not isinstance(values, dict):
        raise damaged(path, "no mapping")
    return values


def damaged(path: Path, why: object) -> CheckpointError:
    """Return the error for a file of a run that is not what ptft wrote."""
    return CheckpointError(f"{path} is damaged ({why}); bring the file back, or start a new run")


def _is_transformers(folder: Path) -> bool:
    return (folder / "config.json").is_file() and "model_type" in read_json(folder / "config.json")


def _in_parts(index: Path) -> dict[str, Tensor]:
    """Read the files that an index names; they lie beside it."""
    parts = read_json(index).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(name, str) for name in parts.values()):
        raise damaged(index, "no weight_map")
    names = sorted(set(parts.values()))
    if outside := [name for name in names if Path(name).name != name]:
        raise damaged(index, f"it names {outside[0]}, which does not lie beside it")
    tensors = {name: tensor for part in names for name, tensor in read_tensors(index.parent / part).items()}
    if missing := sorted(set(parts) - set(tensors)):
        raise damaged(index, f"its files lack {missing[0]} and {len(missing) - 1} more")
    return tensors


def _with_aliases(file: Path) -> dict[str, Tensor]:
    """Read a weights file, with the other names of tied weights that config.json beside it tells."""
    tensors = read_tensors(file)
    config = file.parent / "config.json"
    aliases = read_json(config).get("aliases") if config.is_file() else None
    known = aliases.items() if isinstance(aliases, dict) else ()
    return tensors | {alias: tensors[name] for alias, name in known if name in tensors}


def _labels(folder: Path) -> tuple[str, ...] | None:
    """Return the class names that stand beside weights, as ptft or as transformers write them."""
    with contextlib.suppress(OSError, ValueError):
        return tuple(json.loads((folder / "labels.json").read_bytes()))
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        names = json.loads((folder / "config.json").read_bytes())["id2label"]
        return tuple(str(names[str(number)]) for number in range(len(names)))
    return None
