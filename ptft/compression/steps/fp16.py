"""Weights in half precision (IEEE binary16): half the file, hardly a loss, no speed on a CPU.

ONNX Runtime computes in fp32 on a CPU all the same.
"""

from pathlib import Path

from ptft.compression import onnx_file
from ptft.compression.export import check_exportable
from ptft.compression.half import store_half
from ptft.compression.step import ExportStep, Workshop
from ptft.data.data_module import DataSpec
from ptft.model.artefact import Artefact, write_artefact
from ptft.task.task import Task


class Fp16(ExportStep):
    """Writes the network with weights of fp16."""

    def check(self, task: Task, spec: DataSpec) -> None:
        """See that the network can be exported.

        Raises:
            ConfigError: It exports no single network, or a package is missing.
        """
        check_exportable(task)

    def apply(self, task: Task, exported: Artefact, folder: Path, workshop: Workshop) -> Artefact:
        """Write the weights in fp16; those that do not fit are told and stay fp32."""
        model = onnx_file.load(exported.path)
        if left := store_half(model, "fp16"):
            workshop.warn(f"fp16: {left} tensors reach beyond its largest number and stay fp32")
        onnx_file.strip(model)
        path = onnx_file.save(model, folder)
        workshop.say("fp16: half the file; on a CPU ONNX Runtime computes in fp32, so it is no faster")
        return write_artefact(folder, "onnxruntime", "fp16", path.name, exported.inputs, exported.outputs)
