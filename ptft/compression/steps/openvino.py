"""Writes the network for OpenVINO, another runtime for x86 processors: fp32, bf16, or int8 by NNCF.

NNCF (Kozlov and others, arXiv 2002.08679) calibrates on training examples and corrects what biases lose by rounding.
Left out: its control of accuracy, as the pipeline measures and gates by itself.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ptft.compression.export import check_exportable
from ptft.compression.integer_range import needs_reduced_range
from ptft.compression.step import ExportStep, Workshop
from ptft.data.data_module import DataSpec
from ptft.errors import PtftError
from ptft.model.artefact import Artefact, write_artefact
from ptft.runtime.openvino_session import PRECISION, has_bf16, import_nncf, import_openvino
from ptft.task.task import Task
from ptft.types import PositiveInt

FILE = "model.xml"


class OpenVino(ExportStep):
    """Converts the exported network to OpenVINO's own form (.xml and .bin)."""

    def __init__(self, *, precision: Literal["fp32", "bf16", "int8"] = "int8", samples: PositiveInt = 512) -> None:
        """Set the number type.

        Args:
            precision: fp32, as it is; bf16, the same file, computed in bf16 where a processor has it; int8.
            samples: Training examples that int8 is calibrated on.
        """
        self.precision = precision
        self.samples = samples

    def check(self, task: Task, spec: DataSpec) -> None:
        """Find missing packages.

        Raises:
            ConfigError: OpenVINO or NNCF is not installed, or the task exports no single network.
        """
        check_exportable(task)
        import_openvino()
        if self.precision == "int8":
            import_nncf()

    def apply(self, task: Task, exported: Artefact, folder: Path, workshop: Workshop) -> Artefact:
        """Write the network into an empty folder.

        Raises:
            PtftError: OpenVINO or NNCF cannot take it.
        """
        openvino = import_openvino()
        core = openvino.Core()
        try:
            model = core.read_model(str(exported.path))
            if self.precision == "int8":
                model = self._quantised(model, task, exported, workshop)
        except Exception as error:  # both raise classes of many kinds
            raise PtftError(f"OpenVINO cannot take the network: {str(error).strip().splitlines()[-1]}") from error
        if self.precision == "bf16":
            model.set_rt_info("bf16", list(PRECISION))
            if not has_bf16(core):
                workshop.warn("this processor computes no bf16 in hardware: here OpenVINO runs the network in fp32")
        openvino.save_model(model, str(folder / FILE), compress_to_fp16=False)
        return write_artefact(folder, "openvino", self.precision, FILE, exported.inputs, exported.outputs)

    def _quantised(self, model: Any, task: Task, exported: Artefact, workshop: Workshop) -> Any:
        """Return the model in int8, calibrated on training examples."""
        nncf = import_nncf()
        names = {name for one in model.inputs for name in one.get_names()}
        examples = list(_examples(workshop, [name for name in exported.inputs if name in names], self.samples))
        overflow = nncf.OverflowFix.ENABLE if needs_reduced_range() else nncf.OverflowFix.DISABLE
        with contextlib.redirect_stdout(io.StringIO()):  # its progress
            return nncf.quantize(
                model,
                nncf.Dataset(examples),
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(examples),
                model_type=nncf.ModelType.TRANSFORMER if workshop.spec.kind == "text" else None,
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow),
            )


def _examples(workshop: Workshop, names: list[str], samples: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield training examples one by one, as NNCF wants them."""
    for batch in workshop.batches(samples, batch_size=1):
        yield {name: batch[name].numpy() for name in names}
