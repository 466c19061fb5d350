"""Where initial weights come from: a ptft run, a checkpoint of one, or a weights file."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ptft.adapt.load import read_tensors
from ptft.engine.checkpoint import CheckpointStore
from ptft.engine.run_dir import RunDirectory
from ptft.errors import CheckpointError


def read_source(path: Path) -> tuple[Mapping[str, Tensor], tuple[str, ...] | None]:
    """Return the weights at a path and the label names they were trained on, if that is known.

    A run gives its `model/`, or its best checkpoint while it is not finished.

    Raises:
        CheckpointError: There are no readable weights.
    """
    if path.is_file():
        return read_tensors(path), _labels(path.parent)
    if (path / "model.safetensors").is_file():
        return read_tensors(path / "model.safetensors"), _labels(path)
    if (path / "model" / "model.safetensors").is_file():
        return read_tensors(path / "model" / "model.safetensors"), _labels(path / "model")
    if (path / "run.json").is_file():
        run = RunDirectory.reopen(path)
        checkpoint = CheckpointStore(run.checkpoints, run.id).load_named("best")
        return {**checkpoint.tensors, **(checkpoint.state.get("ema") or {})}, _labels(path / "model")
    raise CheckpointError(
        f"init_from={path}: no weights there; expected a run directory, a folder with model.safetensors, "
        "or a .safetensors or .pth file"
    )


def _labels(folder: Path) -> tuple[str, ...] | None:
    try:
        return tuple(json.loads((folder / "labels.json").read_bytes()))
    except (OSError, ValueError):
        return None
