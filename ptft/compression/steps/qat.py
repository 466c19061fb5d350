"""Quantization-aware training: learns with weights and activations rounded as int8 will have them, and exports that.

Krishnamoorthi (arXiv 1806.08342); `quantised_training` tells how.
"""

from pathlib import Path
from typing import Literal

from ptft.compression.export import check_exportable
from ptft.compression.quantised_training import train_quantised
from ptft.compression.ranges import quantisable
from ptft.compression.step import ExportStep, Workshop
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.artefact import Artefact
from ptft.task.task import Task
from ptft.types import DurationText, PositiveInt


class Qat(ExportStep):
    """Trains a copy of the task with fake quantization and writes it as int8 ONNX (QDQ)."""

    def __init__(
        self,
        *,
        duration: DurationText = "2ep",
        samples: PositiveInt = 512,
        reduce_range: bool | Literal["auto"] = "auto",
        exclude: list[str] | None = None,
    ) -> None:
        """Set how long to train.

        Args:
            duration: How long: `2ep`, `500st`.
            samples: Training examples that the ranges of activations are found on.
            reduce_range: Weights of 7 bits; `auto`: on processors whose products of bytes would overflow.
            exclude: Regular expressions; layers whose name one is found in stay fp32; None: no layer.
        """
        self.duration = duration
        self.samples = samples
        self.reduce_range = reduce_range
        self.exclude = tuple(exclude or ())

    def check(self, task: Task, spec: DataSpec) -> None:
        """Find networks without a layer that could compute in integers.

        Raises:
            ConfigError: There is none, the task exports no single network, or a package is missing.
        """
        check_exportable(task)
        network = task.get_submodule("model")
        if not quantisable(network):
            raise ConfigError(
                f"qat: {type(network).__name__} has no convolution and no linear layer that could be int8; leave the "
                "step out"
            )
        if not quantisable(network, self.exclude):
            raise ConfigError(f"qat: exclude={list(self.exclude)} leaves no layer to be int8; exclude less")

    def apply(self, task: Task, exported: Artefact, folder: Path, workshop: Workshop) -> Artefact:
        """Train a copy and write it into an empty folder."""
        return train_quantised(
            task, workshop, folder, duration=self.duration, samples=self.samples, reduce_range=self.reduce_range,
            exclude=self.exclude,
        )  # fmt: skip
