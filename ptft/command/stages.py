"""The stages of a compression on the disk: each is whole or not there, so that a killed pipeline goes on after it.

stages/1_prune/
  key.json           what the stage is made from: its step's settings and the stage before it
  recover/           the training that recovers, a run of its own: checkpoints, metrics
  network.safetensors  weights of a network stage
  artefact/          the exported network
  stage.json         what it is and how good; written last
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch

from ptft.command.source import read_json
from ptft.engine.state import alias_tied
from ptft.engine.weights import load_own, own_tensors
from ptft.errors import CheckpointError, PtftError
from ptft.model.artefact import Artefact, read_artefact
from ptft.runtime import files
from ptft.task.task import Task

PARENT = "parent"
MARK = "key.json"
WEIGHTS = "network.safetensors"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a compression.

    Attributes:
        name: `parent`, or that of its step.
        folder: Where it lies.
        key: Digest of all that it is made from.
        source: The stage whose network it goes on from; empty for the parent.
        network: Whether it has a network of its own; else it is that of its source in another form.
        edits: How its network differs from the one that the config builds.
        aliases: Names of tied weights, each with the name it is saved under.
        settings: Those of its step, for the record.
        metrics: Value, low and high of each metric on validation.
        agreement: Share of the examples with the parent's prediction; None: not to be told.
        drop: What it loses of the headline against the parent, in points or in percent of a loss.
        passed: Whether that is within the gate; None: there is no gate.
        parameters: Of its network.
        multiply_adds: Of its network, for one example.
        sparsity: Share of zeros among the weights of its network.
        seconds: What it took to make.
    """

    name: str
    folder: Path
    key: str
    source: str = ""
    network: bool = True
    edits: list[dict[str, Any]] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    agreement: float | None = None
    drop: float = 0.0
    passed: bool | None = None
    parameters: int = 0
    multiply_adds: int = 0
    sparsity: float = 0.0
    seconds: float = 0.0

    @property
    def artefact(self) -> Artefact:
        """The exported network."""
        return read_artefact(self.folder / "artefact")


class StageStore:
    """All stages of one compression."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int, name: str) -> Path:
        """Return where a stage lies."""
        return self.folder / f"{number}_{name}"

    def find(self, number: int, name: str, key: str) -> Stage | None:
        """Return a stage that is finished and whole, made from what `key` tells; else None."""
        folder = self.path(number, name)
        try:
            values = read_json(folder / "stage.json")
            stage = Stage(**{**values, "folder": folder})
            if stage.key != key or stage.name != name:
                return None
            read_artefact(folder / "artefact")
            if stage.network and name != PARENT:
                safetensors.torch.load_file(folder / WEIGHTS)
        except (PtftError, OSError, TypeError, KeyError, ValueError, safetensors.SafetensorError):
            return None  # not there, half written, or damaged: it is made again
        return stage

    def begin(self, number: int, name: str, key: str) -> Path:
        """Return the folder of a stage that is to be made; what was left by one of the same key stays to go on with."""
        folder = self.path(number, name)
        mark = folder / MARK
        if not mark.is_file() or _key_of(mark) != key:
            files.ensure_directory(self.folder)
            files.remove(folder)
            files.ensure_directory(folder)
            files.replace_with(mark, json.dumps({"key": key}).encode())
        files.remove(folder / "stage.json")
        files.remove(folder / "artefact")
        files.make_directory(folder / "artefact")
        return folder

    def finish(self, stage: Stage) -> Stage:
        """Write what a stage is; from now on it is found. What its step left beside it on its way is removed."""
        for path in stage.folder.iterdir():
            if path.is_file() and path.name not in (MARK, WEIGHTS):
                files.remove(path)
        values = {key: value for key, value in dataclasses.asdict(stage).items() if key != "folder"}
        files.replace_with(stage.folder / "stage.json", (json.dumps(values, indent=2) + "\n").encode())
        return stage


def stage_key(step: Mapping[str, Any], source: str, context: Mapping[str, Any]) -> str:
    """Return the digest of what a stage is made from.

    Args:
        step: The settings of its step.
        source: The key of the stage it goes on from.
        context: Whatever else decides: how recoveries train, the digest of the parent.
    """
    text = json.dumps([step, source, context], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def save_weights(folder: Path, task: Task) -> dict[str, str]:
    """Write the weights of a stage's task and return the aliases of tied ones."""
    tensors, aliases = alias_tied(own_tensors(task))
    data = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    files.replace_with(folder / WEIGHTS, data)
    return aliases


def load_weights(stage: Stage, task: Task) -> None:
    """Put the weights of a stage into a task of its structure.

    Raises:
        CheckpointError: They are damaged or do not fit.
    """
    try:
        tensors = safetensors.torch.load_file(stage.folder / WEIGHTS)
        tensors |= {name: tensors[kept] for name, kept in stage.aliases.items()}
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{stage.folder / WEIGHTS} cannot be read: {error}") from error
    load_own(task, tensors)


def copy_files(artefact: Artefact, target: Path) -> None:
    """Copy the files of an artefact beside others, each whole or not there, artefact.json last."""
    files.ensure_directory(target)
    for name in (*artefact.files, "artefact.json"):
        temporary = target / f".tmp-{name}"
        shutil.copyfile(artefact.folder / name, temporary)
        files.rename(temporary, target / name)
    files.sync_directory(target)


def _key_of(mark: Path) -> str:
    try:
        return str(read_json(mark).get("key"))
    except PtftError:
        return ""
