"""Int8 weights for transformers and LSTMs; activations are rounded as they come, by their own range (ONNX Runtime).

Needs no examples. Linear layers have a scale an output, embeddings one a token, which costs 4 bytes a token and keeps
rare tokens exact. A network of convolutions gains nothing: its dynamic form is slow.
"""

from pathlib import Path
from typing import Literal

from ptft.compression import onnx_file
from ptft.compression.export import check_exportable, quiet
from ptft.compression.integer_range import needs_reduced_range
from ptft.compression.integers import quantise_tables, write_integers
from ptft.compression.step import ExportStep, Workshop
from ptft.compression.suits import weights_in
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.artefact import Artefact
from ptft.task.task import Task


class Int8Dynamic(ExportStep):
    """Writes linear layers, LSTMs and embeddings as int8."""

    def __init__(
        self,
        *,
        per_channel: bool = True,
        reduce_range: bool | Literal["auto"] = "auto",
        embeddings: bool = True,
    ) -> None:
        """Set what becomes int8 and how.

        Args:
            per_channel: A scale for each output of a linear layer; false: one for the whole.
            reduce_range: Weights of 7 bits; auto: on processors whose products of bytes would overflow. An artefact of
                8 bits made elsewhere overflows there too.
            embeddings: Tables of vectors too.
        """
        self.per_channel = per_channel
        self.reduce_range: bool | Literal["auto"] = reduce_range
        self.embeddings = embeddings

    def check(self, task: Task, spec: DataSpec) -> None:
        """Find networks of which too little would become int8.

        Raises:
            ConfigError: They are of convolutions, export no single network, or a package is missing.
        """
        check_exportable(task)
        found = weights_in(task.get_submodule("model"))
        known = found["linear"] + found["lstm"] + (found["embedding"] if self.embeddings else 0)
        if known < found["total"] / 2:
            raise ConfigError(
                f"int8_dynamic rounds linear layers, LSTMs and embeddings, which hold {known:,} of this network's "
                f"{found['total']:,} weights; choose steps/int8_static for convolutions, steps/fp16 for others"
            )

    def apply(self, task: Task, exported: Artefact, folder: Path, workshop: Workshop) -> Artefact:
        """Write the int8 network."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        reduce_range = needs_reduced_range() if self.reduce_range == "auto" else self.reduce_range
        model = onnx_file.load(exported.path)
        if self.embeddings:
            quantise_tables(model)
        target = workshop.folder / "dynamic.onnx"
        with quiet():
            quantize_dynamic(
                model, str(target), op_types_to_quantize=["MatMul", "Gemm", "LSTM"], per_channel=self.per_channel,
                reduce_range=reduce_range, weight_type=QuantType.QInt8, extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
        bits = 7 if reduce_range else 8
        workshop.say(f"int8: weights of {bits} bits, activations as they come")
        return write_integers(onnx_file.load(target), folder, exported, bits)
