"""A network that was exported: files and a runtime in place of modules; stands behind a task's `forward`.

    artefact.json   runtime, precision, the names of inputs and outputs, size and SHA-256 of each file

Nothing of it is code: the runtimes read graphs and numbers.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ptft.errors import CheckpointError, PtftError
from ptft.runtime import files
from ptft.runtime.session import RUNTIMES, open_session

NAME = "artefact.json"
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
TOKENS_AT_ONCE = 1 << 10
"""Tokens of one run whose logits over a vocabulary are held at once: 125 MB of 30,522."""


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """An exported network on the disk.

    Attributes:
        folder: Where its files lie.
        runtime: What runs it: `onnxruntime` or `openvino`.
        precision: Number type of its weights: fp32, fp16, bf16, int8.
        file: The file to open; others may belong to it.
        inputs: Names of the tensors it takes, in order.
        outputs: Names of the tensors it gives, in order.
        files: SHA-256 of each file by name.
    """

    folder: Path
    runtime: str
    precision: str
    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    files: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The file to open."""
        return self.folder / self.file

    @property
    def digest(self) -> str:
        """Its identity: SHA-256 over the digests of all its files."""
        return hashlib.sha256(json.dumps(sorted(self.files.items())).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of all its files, which it needs to run."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def write_artefact(
    folder: Path, runtime: str, precision: str, file: str, inputs: Sequence[str], outputs: Sequence[str]
) -> Artefact:
    """Write artefact.json over all files that lie in a folder, and return what it says.

    Args:
        folder: Holds the files of the network, and nothing else.
        runtime: What runs it.
        precision: Number type of its weights.
        file: The file to open.
        inputs: Names of the tensors it takes, in order.
        outputs: Names of the tensors it gives, in order.
    """
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.name != NAME)
    digests = {path.name: files.digest(path) for path in found}
    sizes = {path.name: path.stat().st_size for path in found}
    assert runtime in RUNTIMES and precision in PRECISIONS and file in digests, (runtime, precision, file)
    values = {
        "runtime": runtime,
        "precision": precision,
        "file": file,
        "inputs": list(inputs),
        "outputs": list(outputs),
        "files": {name: {"bytes": sizes[name], "sha256": digest} for name, digest in digests.items()},
    }
    files.replace_with(folder / NAME, (json.dumps(values, indent=2) + "\n").encode())
    return Artefact(folder=folder, runtime=runtime, precision=precision, file=file, inputs=tuple(inputs),
                    outputs=tuple(outputs), files=digests)  # fmt: skip


def read_artefact(folder: Path) -> Artefact:
    """Return the artefact in a folder, once all its files are found to be as they were written.

    Raises:
        CheckpointError: There is none, it says something else than an artefact does, or a file is damaged.
    """
    values = _values(folder / NAME)
    texts = {key: values[key] for key in ("runtime", "precision", "file")}
    names = {key: tuple(values[key]) for key in ("inputs", "outputs")}
    for name, facts in values["files"].items():
        _check_file(folder, name, facts)
    digests = {name: str(facts["sha256"]) for name, facts in values["files"].items()}
    return Artefact(folder=folder, files=digests, **texts, **names)  # type: ignore[arg-type]


class ArtefactNetwork(nn.Module):
    """An exported network in the place of the one that it came from: evaluates and predicts, never learns."""

    anchor: Tensor
    max_tokens: int | None = None
    """As networks over tokens tell it; the data's own length holds."""

    def __init__(self, artefact: Artefact, threads: int | None = None) -> None:
        """Open an artefact.

        Args:
            artefact: What to open.
            threads: Threads of the runtime; None: as many as it likes.

        Raises:
            ConfigError: Its runtime is not installed.
            CheckpointError: The runtime cannot read it, or it takes or gives something else than it says.
        """
        super().__init__()
        self.artefact = artefact
        self._session = open_session(artefact.path, artefact.runtime, threads=threads)
        found = (set(self._session.inputs), self._session.outputs)
        # What a network does not read is no input of its graph.
        if not found[0] <= set(artefact.inputs) or found[1] != artefact.outputs:
            raise CheckpointError(f"{artefact.path} takes and gives {found}, and {NAME} says something else of it")
        self.register_buffer("anchor", torch.zeros(0), persistent=False)

    def forward(self, *inputs: Tensor, chosen: Tensor | None = None) -> Any:
        """Return what the network returned: a tensor, or a tuple of several, on the device of the first input.

        Args:
            *inputs: In the order of `artefact.inputs`.
            chosen: (B, T) bool, the tokens whose logits are wanted, of the first output; None: all.

        Raises:
            PtftError: Later, from `backward`: nothing learns through an exported network.
        """
        assert len(inputs) == len(self.artefact.inputs), f"takes {', '.join(self.artefact.inputs)}"
        if chosen is None:
            outputs = self._run(inputs)
        else:  # all logits are worked out, so a few rows at a time: a vocabulary is large
            few = max(TOKENS_AT_ONCE // chosen.shape[1], 1)
            starts = range(0, len(chosen), few)
            pieces = [self._run([value[start : start + few] for value in inputs]) for start in starts]
            wanted = [piece[0][chosen[start : start + few]] for start, piece in zip(starts, pieces, strict=True)]
            outputs = [
                torch.cat(wanted),
                *(torch.cat(rest) for rest in zip(*(piece[1:] for piece in pieces), strict=True)),
            ]
        if torch.is_grad_enabled():
            anchor = self.anchor.detach().to(inputs[0].device).requires_grad_()
            outputs = list(_NoGradient.apply(anchor, *outputs))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return all outputs, on the device of the first input."""
        given = {name: _array(value) for name, value in zip(self.artefact.inputs, inputs, strict=True)}
        return [torch.from_numpy(value).to(inputs[0].device) for value in self._session.run(given)]

    def next_token(self, input_ids: Tensor, cache: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits (B, V) of the token after the given ones, and all tokens so far, which are read again.

        Args:
            input_ids: (B, T) the tokens; with a cache only those that are new since.
            cache: What the last call returned; None: nothing was seen yet.
        """
        tokens = input_ids if cache is None else torch.cat([cache, input_ids], dim=1)
        values = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "document": torch.ones_like(tokens)}
        logits = self(*(values.get(name, torch.zeros_like(tokens)) for name in self.artefact.inputs))
        return logits[:, -1], tokens

    def __deepcopy__(self, memo: dict[int, Any]) -> "ArtefactNetwork":
        """Return a module of its own over the same session, which keeps no state."""
        twin = copy.copy(self)
        twin._buffers = dict(self._buffers)
        memo[id(self)] = twin
        return twin


class _NoGradient(torch.autograd.Function):
    """Passes values on and says, when somebody asks for a gradient, why there is none."""

    @staticmethod
    def forward(context: Any, anchor: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        """Return the values as they are."""
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        """Refuse."""
        raise PtftError("an exported network has no gradients; train the run that it was compressed from")


def _array(value: Tensor) -> np.ndarray:
    """Return a tensor as numpy has it, which knows no bfloat16."""
    value = value.detach().cpu()
    return (value.float() if value.is_floating_point() else value).numpy()


def _values(path: Path) -> dict[str, Any]:
    """Return what an artefact.json says, once its keys and types are seen to be right."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"there is no exported network in {path.parent} ({error.strerror})") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: it is no JSON ({error})") from error
    kinds = {"runtime": str, "precision": str, "file": str, "inputs": list, "outputs": list, "files": dict}
    if not isinstance(values, dict) or not kinds.keys() <= values.keys():
        raise CheckpointError(f"{path} is damaged: expected the keys {', '.join(kinds)}")
    for key, kind in kinds.items():
        if not isinstance(values[key], kind):
            raise CheckpointError(f"{path} is damaged: {key} should be a {kind.__name__}, and is {values[key]!r}")
    known = values["runtime"] in RUNTIMES and values["precision"] in PRECISIONS and values["file"] in values["files"]
    if not known or not all(isinstance(name, str) for name in (*values["inputs"], *values["outputs"])):
        raise CheckpointError(f"{path} is damaged, or of another version of ptft: {values}")
    return values


def _check_file(folder: Path, name: str, facts: Any) -> None:
    """Refuse a file that lies elsewhere, or is another than when the artefact was written."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise CheckpointError(f"{folder / NAME} names a file outside its folder: {name!r}")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise CheckpointError(f"{path} is missing; it belongs to the exported network in {folder}")
    if not isinstance(facts, dict) or path.stat().st_size != facts.get("bytes"):
        raise CheckpointError(f"{path} is damaged: its size is another than when it was written")
    if files.digest(path) != facts.get("sha256"):
        raise CheckpointError(f"{path} is damaged: its SHA-256 is another than when it was written")
