"""Weights in bfloat16, which reaches as far as fp32 with 8 significant bits: half the file, no speed on a CPU.

ONNX Runtime computes in fp32 on a CPU all the same.
"""

from pathlib import Path

from ptft.compression.export import check_exportable
from ptft.compression.half import write_half
from ptft.compression.step import ExportStep, Workshop
from ptft.data.data_module import DataSpec
from ptft.model.artefact import Artefact
from ptft.task.task import Task


class Bf16(ExportStep):
    """Writes the network with weights of bf16."""

    def check(self, task: Task, spec: DataSpec) -> None:
        """See that the network can be exported.

        Raises:
            ConfigError: It exports no single network, or a package is missing.
        """
        check_exportable(task)

    def apply(self, task: Task, exported: Artefact, folder: Path, workshop: Workshop) -> Artefact:
        """Write the weights in bf16; those that do not fit are told and stay fp32."""
        return write_half(exported, folder, "bf16", workshop)
