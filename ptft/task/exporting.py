"""What most tasks export: their network as it is, from the data's inputs to what it gives."""

import copy
from collections.abc import Sequence

from torch import nn

from ptft.data.data_module import DataSpec
from ptft.task.task import ExportSpec


def network_export(model: nn.Module, spec: DataSpec, outputs: Sequence[str] = ("logits",)) -> dict[str, ExportSpec]:
    """Return a copy of a network as `model`, with any number of examples and, of texts, of tokens.

    Args:
        model: The network.
        spec: Names its inputs.
        outputs: Names of what it gives, in order.
    """
    inputs = dict.fromkeys(spec.inputs, spec.shape)
    axes = {0: "batch"} if spec.kind == "image" else {0: "batch", 1: "time"}
    module = copy.deepcopy(model).eval()
    return {"model": ExportSpec(module, inputs, tuple(outputs), dict.fromkeys(inputs, axes))}
