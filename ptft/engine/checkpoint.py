"""Checkpoints that are whole or not there: written beside their target, fsynced, renamed, and checked digest by digest.

    checkpoints/step_00000200/  model.safetensors   the task's weights and buffers
                                state.safetensors   other tensors: optimizers, moving average, sums of the log window
                                state.json          their skeleton: progress, schedules, best value, plan
                                manifest.json       size and SHA-256 of each file, the run's id; written last
    checkpoints/{last,best}.json name a step

Order on disk: files, manifest, rename, pointer, and only then are old checkpoints removed; so at every instant after
the first save a valid checkpoint exists. Of 1,000 single-bit flips safetensors by itself notices 11, so the digests are
ours to check.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from ptft.engine.state import alias_tied, flatten, unflatten
from ptft.errors import CheckpointError
from ptft.runtime import files

_NAME = re.compile(r"step_(\d{8,})")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read and found intact.

    Attributes:
        step: Optimizer steps done.
        tensors: The task's weights and buffers by name.
        state: Everything else, nested.
        digest: SHA-256 of the manifest: the identity of the checkpoint.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    digest: str


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, directory: Path, run_id: str, keep_last: int = 2) -> None:
        self.directory = directory
        self.run_id = run_id
        self.keep_last = keep_last

    def path(self, step: int) -> Path:
        """Return the directory of a step."""
        return self.directory / f"step_{step:08d}"

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, oldest first; their age is their number, never a file time."""
        if not self.directory.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint and point `last` at it; one that is already there is replaced.

        Raises:
            CheckpointError: The disk is full or refuses; earlier checkpoints are untouched.
        """
        target, temporary = self.path(step), self.directory / f".tmp-step_{step:08d}"
        contents = _contents(tensors, state)
        try:
            self._check_space(sum(map(len, contents.values())))
            self.directory.mkdir(parents=True, exist_ok=True)
            files.remove(temporary)
            files.make_directory(temporary)
            for name, data in contents.items():
                files.write(temporary / name, data)
            manifest = {
                "run": self.run_id,
                "step": step,
                "files": {
                    name: {"bytes": len(data), "sha256": files.digest(temporary / name)}
                    for name, data in contents.items()
                },
            }
            files.write(temporary / "manifest.json", _json(manifest))
            files.sync_directory(temporary)
            # The engine saves a step once, so what stands there is a damaged one that a resumed run has passed over.
            if target.exists():
                files.remove(target)
            files.rename(temporary, target)
            files.sync_directory(self.directory)
            self.point("last", step)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(f"cannot write the checkpoint {target}: {error.strerror or error}") from error

    def point(self, name: str, step: int, **facts: Any) -> None:
        """Let `last` or `best` name a step."""
        files.replace_with(self.directory / f"{name}.json", _json({"step": step, **facts}))

    def pointed(self, name: str) -> int | None:
        """Return the step that `last` or `best` names, or None."""
        try:
            step = json.loads((self.directory / f"{name}.json").read_bytes())["step"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return step if isinstance(step, int) else None

    def clean(self) -> None:
        """Remove what a crash left half-written, and all but the newest `keep_last` checkpoints and the best one."""
        if not self.directory.is_dir():
            return
        for path in self.directory.glob(".tmp-*"):
            files.remove(path)
        steps = self.steps()
        keep = {*steps[-self.keep_last :], self.pointed("best"), self.pointed("last")}
        for step in steps:
            if step not in keep:
                files.remove(self.path(step))

    def load(self, step: int) -> Checkpoint:
        """Read one checkpoint and check each byte of it.

        Raises:
            CheckpointError: It is missing, damaged or of another run; the message names the file.
        """
        path = self.path(step)
        manifest = self._checked_manifest(path, step)
        try:
            document = json.loads((path / "state.json").read_bytes())
            tensors = safetensors.torch.load_file(path / "model.safetensors")
            state = unflatten(document["state"], safetensors.torch.load_file(path / "state.safetensors"))
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        for alias, name in document["aliases"].items():
            tensors[alias] = tensors[name]
        return Checkpoint(step, tensors, state, manifest)

    def load_newest(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """Return the newest checkpoint that is intact; each damaged one is named through `warn(message)`.

        Raises:
            CheckpointError: There are checkpoints, but none is intact.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.load(step)
            except CheckpointError as error:
                warn(f"{error}; trying the one before")
        if steps:
            raise CheckpointError(f"no checkpoint in {self.directory} is intact ({len(steps)} tried)")
        return None

    def load_named(self, name: str) -> Checkpoint:
        """Return `best`, `last` or the checkpoint of a step number.

        Raises:
            CheckpointError: There is none of that name, or it is damaged.
        """
        step = int(name) if name.isdecimal() else self.pointed(name)
        if step is None and name == "best":
            step = self.pointed("last")
        if step is None or step not in self.steps():
            there = ", ".join(map(str, self.steps())) or "none"
            raise CheckpointError(f"{self.directory} has no checkpoint `{name}`; steps there: {there} (or best, last)")
        return self.load(step)

    def _checked_manifest(self, path: Path, step: int) -> str:
        """Check the files of a checkpoint against its manifest and return the manifest's digest."""
        try:
            data = (path / "manifest.json").read_bytes()
            manifest = json.loads(data)
            entries, run_id, number = manifest["files"], manifest["run"], manifest["step"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}/manifest.json is missing or damaged ({error})") from error
        if run_id != self.run_id or number != step:
            raise CheckpointError(
                f"{path} belongs to run {run_id}, step {number}; expected run {self.run_id}, step {step}"
            )
        present = {file.name for file in path.iterdir()} - {"manifest.json"}
        if present != set(entries):
            raise CheckpointError(f"{path} should hold {sorted(entries)}, found {sorted(present)}")
        for name, entry in entries.items():
            if (path / name).stat().st_size != entry["bytes"] or files.digest(path / name) != entry["sha256"]:
                raise CheckpointError(f"{path / name} is damaged: its digest is not the one in the manifest")
        return files.digest(path / "manifest.json")

    def _check_space(self, needed: int) -> None:
        """Refuse before writing when the disk has no room."""
        self.directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            raise CheckpointError(
                f"no room for a checkpoint in {self.directory}: {needed:,} bytes needed, {free:,} free; "
                "free some space and go on with resume="
            )


def _contents(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a checkpoint as bytes."""
    unique, aliases = alias_tied(tensors)
    skeleton, extra = flatten(dict(state))
    return {
        "model.safetensors": safetensors.torch.save({n: t.detach().cpu().contiguous() for n, t in unique.items()}),
        "state.safetensors": safetensors.torch.save(extra),
        "state.json": _json({"aliases": aliases, "state": skeleton}),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=True).encode()
