"""Runs an exported network without torch: arrays in, arrays out, by the runtime that its artefact names.

    onnxruntime   .onnx files of fp32, fp16, bf16 and int8
    openvino      .xml and .bin files (the extra `ptft[openvino]`)

No file brings code: operators come with the runtime, and nothing is fetched.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ptft.errors import CheckpointError, ConfigError

RUNTIMES = ("onnxruntime", "openvino")
_ERRORS_ONLY = 3
"""Severity from which ONNX Runtime writes to the console."""
_SLOWER = ["SkipLayerNormFusion"]
"""A fusion of ONNX Runtime that slows transformers down on a CPU: an int8 MiniLM by 4 to 6% on AVX2 (version 1.32)."""
_NUMPY = {"float": "float32", "double": "float64", "int64": "int64", "int32": "int32", "bool": "bool",
          "float16": "float16", "uint8": "uint8", "int8": "int8"}  # fmt: skip
"""What ONNX Runtime calls the types of tensors, and what numpy does."""


class Session(Protocol):
    """An exported network, ready to run.

    Attributes:
        inputs: Names of the tensors it takes, in order.
        outputs: Names of the tensors it gives, in order.
    """

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors it takes, in order."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the tensors it gives, in order."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return all outputs in order, given each input by its name; cast to the types that the graph wants."""
        ...


def open_session(path: Path, runtime: str, *, threads: int | None = None) -> Session:
    """Open an exported network.

    Args:
        path: Its file.
        runtime: A word of `RUNTIMES`.
        threads: Threads of one run; None: as many as the runtime likes.

    Raises:
        ConfigError: The runtime is unknown or not installed.
        CheckpointError: The runtime cannot read the file.
    """
    if runtime == "onnxruntime":
        return OnnxSession(path, threads)
    if runtime == "openvino":
        from ptft.runtime.openvino_session import OpenVinoSession

        return OpenVinoSession(path, threads)
    raise ConfigError(f"an exported network runs by one of {', '.join(RUNTIMES)}, not by {runtime!r}")


class OnnxSession:
    """A network in ONNX Runtime on the CPU: one run at a time, all graph optimisations, no thread that spins."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Open a file.

        Args:
            path: The .onnx file.
            threads: Threads of one run; None: one a core.

        Raises:
            ConfigError: ONNX Runtime is not installed.
            CheckpointError: It cannot read the file.
        """
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not path.is_file():
            raise CheckpointError(f"there is no exported network {path}")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER
            )
        except Exception as error:  # ONNX Runtime's own classes share no other base
            raise CheckpointError(f"ONNX Runtime cannot read {path}: {str(error).splitlines()[0]}") from error
        self._types = {one.name: _numpy_type(one.type) for one in self._session.get_inputs()}
        self._outputs = tuple(one.name for one in self._session.get_outputs())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors it takes, in order."""
        return tuple(self._types)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the tensors it gives, in order."""
        return self._outputs

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return all outputs in order, given each input by its name; cast to the types that the graph wants."""
        given = {name: np.ascontiguousarray(inputs[name], dtype=kind) for name, kind in self._types.items()}
        outputs: list[np.ndarray] = self._session.run(None, given)
        return outputs


def import_onnxruntime() -> Any:
    """Return the package onnxruntime.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(
            "exported networks run by ONNX Runtime, which is not installed; pip install onnxruntime"
        ) from None
    return onnxruntime


def _numpy_type(name: str) -> str:
    """Return numpy's name of a type such as `tensor(float)`."""
    return _NUMPY[name.removeprefix("tensor(").removesuffix(")")]
