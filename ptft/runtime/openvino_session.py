"""Runs an exported network in OpenVINO on the CPU (the extra `ptft[openvino]`): an .xml file and its .bin.

OpenVINO and NNCF report their use over the network where the package openvino_telemetry is there; here it is never
imported, and both then do without.
"""

import logging
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ptft.errors import CheckpointError, ConfigError

PRECISION = ("ptft", "precision")
"""Where a file says in its `rt_info` that it wants to be run in bf16."""
_NUMPY = {"f64": "float64", "f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32", "i16": "int16",
          "i8": "int8", "u8": "uint8", "boolean": "bool"}  # fmt: skip
"""What OpenVINO calls the types of tensors, and what numpy does."""


def import_openvino() -> Any:
    """Return the package openvino, kept from reporting.

    Raises:
        ConfigError: It is not installed.
    """
    if "openvino" not in sys.modules and find_spec("openvino") is None:
        raise ConfigError("this network runs by OpenVINO, which is not installed; pip install 'ptft[openvino]'")
    _silence()
    import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return openvino


def import_nncf() -> Any:
    """Return the package nncf, which quantises for OpenVINO, kept from reporting.

    Raises:
        ConfigError: It is not installed.
    """
    if "nncf" not in sys.modules and find_spec("nncf") is None:
        raise ConfigError("int8 for OpenVINO needs NNCF, which is not installed; pip install 'ptft[openvino]'")
    _silence()
    logger_class = logging.getLoggerClass()
    import nncf  # type: ignore[import-not-found, import-untyped, unused-ignore]

    logging.setLoggerClass(logger_class)  # NNCF puts its own in place of everybody's
    nncf.set_log_level(logging.ERROR)
    return nncf


class OpenVinoSession:
    """A network in OpenVINO on the CPU: one run at a time, made for short answers rather than many at once."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Open a file.

        Args:
            path: The .xml file; its .bin lies beside it.
            threads: Threads of one run; None: as many as OpenVINO likes.

        Raises:
            ConfigError: OpenVINO is not installed.
            CheckpointError: It cannot read the file.
        """
        openvino = import_openvino()
        if not path.is_file():
            raise CheckpointError(f"there is no exported network {path}")
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            bf16 = model.has_rt_info(list(PRECISION)) and model.get_rt_info(list(PRECISION)).astype(str) == "bf16"
            compiled = core.compile_model(model, "CPU", settings(core, bf16=bf16, threads=threads))
        except Exception as error:  # OpenVINO raises RuntimeError and others
            raise CheckpointError(f"OpenVINO cannot read {path}: {str(error).strip().splitlines()[-1]}") from error
        self._types = {one.any_name: _NUMPY[one.element_type.get_type_name()] for one in compiled.inputs}
        self._outputs = tuple(one.any_name for one in compiled.outputs)
        self._request = compiled.create_infer_request()

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
        # Inputs are read where they lie; outputs are copied, as the next run writes over its own.
        found = self._request.infer(given, share_inputs=True)
        return [np.array(found[place]) for place in range(len(self._outputs))]


def settings(core: Any, *, bf16: bool, threads: int | None) -> dict[str, Any]:
    """Return how a network is compiled.

    Args:
        core: OpenVINO's `Core`.
        bf16: Whether to compute in bf16, where the processor can.
        threads: Threads of one run; None: as OpenVINO likes.
    """
    chosen: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Said always, as OpenVINO takes bf16 by itself where a processor has it.
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 and has_bf16(core) else "f32",
        "ENABLE_CPU_PINNING": False,  # several runs on one machine would share a core
    }
    return chosen if threads is None else {**chosen, "INFERENCE_NUM_THREADS": threads}


def has_bf16(core: Any) -> bool:
    """Tell whether OpenVINO computes bf16 in hardware on this processor."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _silence() -> None:
    """Have both packages find no openvino_telemetry; what is imported already stays as it is."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
