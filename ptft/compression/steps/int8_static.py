"""Int8 after training: weights and activations, by ranges that training examples reach, as ONNX (QDQ).

Jacob and others, arXiv 1712.05877; Wu and others, arXiv 2004.09602: weights symmetric, one scale a channel, activations
by one scale and zero point a tensor. Left out: bias correction and equalisation.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ptft.compression import onnx_file
from ptft.compression.calibration import Range, find_ranges
from ptft.compression.export import check_exportable, quiet, rows_of
from ptft.compression.integer_range import needs_reduced_range
from ptft.compression.integers import check_patterns, choose_nodes, quantise_tables, reorder, write_integers
from ptft.compression.quantised_training import better_by_training
from ptft.compression.ranges import quantisable
from ptft.compression.step import ExportStep, Workshop
from ptft.compression.suits import weights_in
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.artefact import Artefact
from ptft.task.task import Task
from ptft.types import DurationText, PositiveFloat, PositiveInt


class Int8Static(ExportStep):
    """Writes convolutions, linear layers and embeddings as int8, activations by ranges found beforehand."""

    def __init__(
        self,
        *,
        samples: PositiveInt = 512,
        method: Literal["minmax", "percentile", "mse"] = "mse",
        percentile: PositiveFloat = 99.99,
        scale: PositiveFloat = 1.0,
        per_channel: bool = True,
        reduce_range: bool | Literal["auto"] = "auto",
        exclude: list[str] | None = None,
        qat: DurationText | None = None,
    ) -> None:
        """Set how ranges are found and what stays fp32.

        Args:
            samples: Training examples that the ranges are found on.
            method: minmax: all values seen; percentile: all but the outermost; mse: the range of the least error.
            percentile: How many of a hundred values lie below the upper end, for `percentile`.
            scale: The ranges are multiplied by it; below 1 large values are cut off.
            per_channel: A scale for each channel of a weight; false: one for the whole.
            reduce_range: Weights of 7 bits; auto: on processors whose products of bytes would overflow. An artefact of
                8 bits made elsewhere overflows there too.
            exclude: Regular expressions; nodes whose name (`blocks.0.0/Conv`) one is found in stay fp32; None: none.
            qat: How long to train with rounded weights if the gate would not be met; the better of both is kept.
                None: not at all.

        Raises:
            ConfigError: The percentile is above 100.
        """
        if percentile > 100:
            raise ConfigError(f"percentile={percentile:g}: expected at most 100, such as 99.99")
        self.samples = samples
        self.method: Literal["minmax", "percentile", "mse"] = method
        self.percentile = percentile
        self.scale = scale
        self.per_channel = per_channel
        self.reduce_range: bool | Literal["auto"] = reduce_range
        self.exclude = tuple(exclude or ())
        self.qat = qat

    def check(self, task: Task, spec: DataSpec) -> None:
        """Find networks of which too little would become int8.

        Raises:
            ConfigError: They are recurrent, export no single network, or a package is missing.
        """
        check_exportable(task)
        check_patterns(self.exclude)
        found = weights_in(task.get_submodule("model"))
        if found["linear"] + found["convolution"] == 0 or found["recurrent"] > found["total"] / 2:
            raise ConfigError(
                "int8_static is for convolutions and linear layers, which hold too little of this network; choose "
                "steps/int8_dynamic, which knows LSTMs and embeddings too"
            )
        if self.qat is not None and not quantisable(task.get_submodule("model")):
            raise ConfigError("int8_static.qat: the network has no layer that can be trained rounded; leave it null")

    def apply(self, task: Task, exported: Artefact, folder: Path, workshop: Workshop) -> Artefact:
        """Calibrate on training examples and write the int8 network."""
        bits = 7 if (needs_reduced_range() if self.reduce_range == "auto" else self.reduce_range) else 8
        model = prepared(exported.path, workshop.folder)
        chosen = choose_nodes(model, self.exclude)
        reorder(model, chosen)
        ranges = self._ranges(model, chosen, exported, workshop)
        workshop.say(
            f"int8: {len(chosen)} nodes, weights of {bits} bits, ranges of {len(ranges)} tensors ({self.method})"
        )
        model = _quantised(model, chosen, ranges, per_channel=self.per_channel, reduce_range=bits == 7)
        quantise_tables(model)
        artefact = write_integers(model, folder, exported, bits)
        if self.qat is None:
            return artefact
        return better_by_training(
            task, artefact, workshop, duration=self.qat, samples=self.samples, reduce_range=self.reduce_range,
            exclude=self.exclude,
        )  # fmt: skip

    def _ranges(self, model: Any, chosen: list[str], exported: Artefact, workshop: Workshop) -> dict[str, Range]:
        def batches() -> Iterator[Any]:
            return (rows_of(batch, exported.inputs) for batch in workshop.batches(self.samples))

        found = find_ranges(
            model, activations_of(model, chosen), batches, workshop.folder,
            method=self.method, percentile=self.percentile, threads=workshop.threads,
        )  # fmt: skip
        return {name: (low * self.scale, high * self.scale) for name, (low, high) in found.items()}


def prepared(path: Path, folder: Path) -> Any:
    """Return a model with constants folded, batch norms in their convolutions, and the shapes that can be told.

    Args:
        path: Its file.
        folder: Where a copy may be written.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target = folder / "prepared.onnx"
    with quiet():
        quant_pre_process(str(path), str(target), skip_symbolic_shape=True)
    return onnx_file.load(target)


def activations_of(model: Any, chosen: list[str]) -> list[str]:
    """Return what flows into and out of the chosen nodes, weights not counted, in the order of their running."""
    weights = {one.name for one in model.graph.initializer} | {""}
    nodes = [node for node in model.graph.node if node.name in chosen]
    names = [name for node in nodes for name in (*node.input, node.output[0]) if name not in weights]
    clips = {name for node in nodes if node.op_type == "Clip" for name in node.input[1:]}
    return [name for name in dict.fromkeys(names) if name not in clips]


def _quantised(
    model: Any, chosen: list[str], ranges: dict[str, Range], *, per_channel: bool, reduce_range: bool
) -> Any:
    """Return the model with the chosen nodes between QuantizeLinear and DequantizeLinear."""
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    found = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    quantizer = QDQQuantizer(
        model, per_channel, reduce_range, QuantType.QInt8, QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, found), chosen, [],
        sorted({node.op_type for node in model.graph.node if node.name in chosen}),
        {"WeightSymmetric": True, "ActivationSymmetric": False, "MatMulConstBOnly": True},
    )  # fmt: skip
    quantizer.quantize_model()
    return quantizer.model.model
