"""Checkpoints that are whole or not there: written beside their target, fsynced, renamed, and checked digest by digest.

    checkpoints/step_00000200/  model.safetensors   the task's weights and buffers
                                state.safetensors   other tensors: optimizers, moving average, sums of the log window
                                state.json          their skeleton: progress, schedules, best value, plan
                                manifest.json       size and SHA-256 of each file, the run's id; written last
    checkpoints/{last,best}.json name a step

Order on disk: files, manifest, rename, pointer, and only then are old checkpoints removed; so at every instant after
the first save a valid checkpoint exists. Of 1,000 single bits flipped in a 42 kB file safetensors by itself noticed 16,
so the digests are ours to check.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
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
_TEMPORARY = ".tmp-"
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, safetensors.SafetensorError)
"""What parsing may raise on files that someone made on purpose, with digests that fit."""


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
        target, temporary = self.path(step), self.directory / f"{_TEMPORARY}{self.path(step).name}"
        contents = _contents(tensors, state)
        # The digests are those of the bytes in memory, so that a disk that wrote something else is found out.
        entries = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()
        }
        contents["manifest.json"] = _json({"run": self.run_id, "step": step, "files": entries})
        with self._told(target):
            self.check_space(sum(map(len, contents.values())))
            try:
                files.remove(temporary)
                files.make_directory(temporary)
                for name, data in contents.items():
                    files.write(temporary / name, data)
                files.sync_directory(temporary)
                # The engine saves a step once, so what stands there is a damaged one that a resumed run passed over.
                self._discard(step)
                files.rename(temporary, target)
                files.sync_directory(self.directory)
            except OSError:
                with contextlib.suppress(OSError):
                    files.remove(temporary)
                raise
        self.point("last", step)

    def point(self, name: str, step: int, **facts: Any) -> None:
        """Let `last` or `best` name a step.

        Raises:
            CheckpointError: The disk is full or refuses.
        """
        path = self.directory / f"{name}.json"
        with self._told(path):
            files.replace_with(path, _json({"step": step, **facts}))

    def pointed(self, name: str) -> int | None:
        """Return the step that `last` or `best` names, or None before the first one.

        Raises:
            CheckpointError: The file that should tell is damaged.
        """
        path = self.directory / f"{name}.json"
        try:
            return int(json.loads(path.read_bytes())["step"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); resume= writes it anew") from error

    def clean(self) -> None:
        """Remove what a crash left behind, and all but the newest `keep_last` checkpoints and the best one.

        Checkpoints of steps after the last one saved are damaged ones that a resumed run has passed over: they go too.

        Raises:
            CheckpointError: The disk refuses.
        """
        with self._told(self.directory):
            for path in self.directory.glob(f"{_TEMPORARY}*"):
                files.remove(path)
            best, last = self.pointed("best"), self.pointed("last")
            reached = [step for step in self.steps() if last is None or step <= last]
            for step in {*self.steps()} - {*reached[-self.keep_last :], best, last}:
                self._discard(step)

    def check_space(self, needed: int) -> None:
        """Refuse before writing when the disk has no room for so many bytes.

        Raises:
            CheckpointError: There is too little room, or the run directory is gone.
        """
        with self._told(self.directory):
            files.ensure_directory(self.directory)
            free = files.free_bytes(self.directory)
        if free < needed:
            raise CheckpointError(
                f"no room for a checkpoint in {self.directory}: {needed:,} bytes needed, {free:,} free; "
                "free some space and go on with resume="
            )

    def load(self, step: int) -> Checkpoint:
        """Read one checkpoint and check each byte of it.

        Raises:
            CheckpointError: It is missing, damaged or of another run; the message names the file.
        """
        path = self.path(step)
        try:
            digest = self._checked_manifest(path, step)
            document = json.loads((path / "state.json").read_bytes())
            tensors = safetensors.torch.load_file(path / "model.safetensors")
            state = unflatten(document["state"], safetensors.torch.load_file(path / "state.safetensors"))
            tensors |= {alias: tensors[name] for alias, name in document["aliases"].items()}
        except (OSError, *_MALFORMED) as error:
            raise CheckpointError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
        return Checkpoint(step, tensors, state, digest)

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
            sizes = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in entries.items()}
            if _json(manifest) != data:
                raise ValueError("it is not as it was written")
        except (OSError, *_MALFORMED) as error:
            raise CheckpointError(f"{path}/manifest.json is missing or damaged ({error})") from error
        if run_id != self.run_id or number != step:
            raise CheckpointError(
                f"{path}/manifest.json belongs to run {run_id}, step {number}; expected run {self.run_id}, step {step}"
            )
        present = {file.name for file in path.iterdir()} - {"manifest.json"}
        if present != set(sizes):
            raise CheckpointError(f"{path} holds {sorted(present)}, but its manifest.json lists {sorted(sizes)}")
        for name, (size, digest) in sizes.items():
            if (path / name).stat().st_size != size or files.digest(path / name) != digest:
                raise CheckpointError(f"{path / name} is damaged: its digest is not the one in manifest.json")
        return hashlib.sha256(data).hexdigest()

    def _discard(self, step: int) -> None:
        """Remove a checkpoint if it is there: under its own name it stands as a whole or not at all."""
        path = self.path(step)
        if path.exists():
            doomed = self.directory / f"{_TEMPORARY}removed-{path.name}"
            files.remove(doomed)
            files.rename(path, doomed)
            files.remove(doomed)

    @contextlib.contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        """Say which file or directory the disk refused."""
        try:
            yield
        except OSError as error:
            raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


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
