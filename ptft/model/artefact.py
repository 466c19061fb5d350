"""A network that was exported: files and a runtime in place of modules; stands behind a task's `forward`.

    artefact.json   runtime, precision, the names of inputs and outputs, size and SHA-256 of each file

Nothing of it is code: the runtimes read graphs and numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
