"""Writes a task's network in forms that run elsewhere: ONNX (torch.onnx with dynamo) and torch.export's program.

An exported file is believed only after ONNX Runtime gave what torch gives, at several numbers of examples and lengths.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptft.compression import onnx_file
from ptft.compression.behind import check_single_network
from ptft.compression.integers import integer_convolutions, reorder
from ptft.data.data_module import Batch
from ptft.errors import ConfigError, PtftError
from ptft.model.artefact import Artefact, ArtefactNetwork, write_artefact
from ptft.runtime import files
from ptft.task.task import ExportSpec, Task

TOLERANCE = 1e-4
"""By how much ONNX Runtime may differ from torch, as a share of the largest output."""
_TRACED = 2
"""Examples that a network is traced with; one would be taken for a constant."""
_TRACED_TOKENS = 4
"""Tokens of each: neither one nor as many as there are examples; few, as a recurrent layer is unrolled on the way."""
_LOGGERS = ("root", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def check_exportable(task: Task) -> None:
    """Find what forbids an export before anything is trained.

    Raises:
        ConfigError: A package is missing, or what the task exports does not answer what it is judged by.
    """
    onnx_file.check_packages()
    check_single_network(task)


def export_onnx(
    task: Task, batch: Batch, folder: Path, *, precision: str = "fp32", tolerance: float = TOLERANCE
) -> Artefact:
    """Write a task's network as ONNX into a folder, and see that it gives what torch gives.

    Args:
        task: A task on the CPU that exports a `model`.
        batch: Some examples of the data.
        folder: Is empty.
        precision: What the artefact says of its weights; int8: the network rounds them itself.
        tolerance: By how much it may differ from torch, as a share of the largest output.

    Raises:
        PtftError: torch cannot export the network, or what it exported gives something else.
    """
    spec = task.export()["model"]
    plain_attention(spec.module)
    inputs = _examples(spec, batch)
    with quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                spec.module, _traced(spec, inputs), input_names=list(spec.inputs), output_names=list(spec.outputs),
                dynamic_shapes=_open_axes(spec), dynamo=True, verbose=False,
            )  # fmt: skip
        except Exception as error:  # whatever the exporter meets in a network
            raise _refused(spec.module, "ONNX", error) from error
    assert program is not None
    model = program.model_proto
    onnx_file.rename_axes(model, spec.dynamic)
    onnx_file.name_nodes(model)
    onnx_file.strip(model)
    if precision == "int8":
        reorder(model, integer_convolutions(model))
        onnx_file.shorten_names(model)
    files.ensure_directory(folder)
    path = onnx_file.save(model, folder)
    artefact = write_artefact(folder, "onnxruntime", precision, path.name, tuple(spec.inputs), tuple(spec.outputs))
    _verify(spec, artefact, inputs, tolerance)
    return artefact


def plain_attention(network: nn.Module) -> None:
    """Let a network work out attention by plain products, in place: of fewer nodes in ONNX, and never slower there."""
    choose = getattr(network, "set_attention", None)
    if choose is not None:
        with suppress(ConfigError):  # it has no choice
            choose("eager")


def rows_of(batch: Batch, inputs: Sequence[str]) -> dict[str, np.ndarray]:
    """Return a batch as a runtime takes it: the named tensors as arrays."""
    return {name: batch[name].numpy() for name in inputs}


def export_program(task: Task, batch: Batch, path: Path) -> None:
    """Write a task's network as a program of torch.export (.pt2), which torch and its compilers read.

    Args:
        task: A task on the CPU that exports a `model`.
        batch: Some examples of the data.
        path: The file to write.

    Raises:
        PtftError: torch cannot export the network.
    """
    spec = task.export()["model"]
    if any(isinstance(module, nn.RNNBase) for module in spec.module.modules()):
        raise PtftError(
            f"{type(spec.module).__name__} cannot be exported as a program of torch.export, which would unroll its "
            "recurrent layers over one number of tokens; take the ONNX file"
        )
    buffer = io.BytesIO()
    with quiet(), torch.no_grad():
        try:
            given = _traced(spec, _examples(spec, batch))
            program = torch.export.export(spec.module, given, dynamic_shapes=_open_axes(spec), strict=False)
        except Exception as error:  # whatever torch meets in a network
            raise _refused(spec.module, "a program of torch.export", error) from error
        torch.export.save(program, buffer)
    files.write(path, buffer.getvalue())


def difference(expected: Any, found: Any) -> float:
    """Return the largest difference of two networks' outputs, as a share of the largest value expected."""
    pairs = zip(_tuple(expected), _tuple(found), strict=True)
    return max(
        float((one - other).detach().abs().max() / one.detach().abs().max().clamp(min=1e-6)) for one, other in pairs
    )


def _open_axes(spec: ExportSpec) -> tuple[dict[int, Any], ...]:
    """Return the open axes of each input as torch.export takes them."""
    return tuple(dict.fromkeys(spec.dynamic.get(name, {}), torch.export.Dim.DYNAMIC) for name in spec.inputs)


def _examples(spec: ExportSpec, batch: Batch) -> tuple[Tensor, ...]:
    """Return a few rows of a batch as the network's inputs."""
    inputs = tuple(batch[name][:_TRACED] for name in spec.inputs)
    return tuple(torch.cat([value] * _TRACED)[:_TRACED] for value in inputs)


def _traced(spec: ExportSpec, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return what a network is traced with: whatever they hold, they stand for any number of examples and tokens."""
    return _of_length(spec, inputs, _TRACED_TOKENS)


def _of_length(spec: ExportSpec, inputs: tuple[Tensor, ...], length: int) -> tuple[Tensor, ...]:
    """Return inputs of another number of tokens: cut, or padded with 0; images stay as they are."""
    values = []
    for name, value in zip(spec.inputs, inputs, strict=True):
        if 1 in spec.dynamic.get(name, {}):
            value = F.pad(value[:, :length], (0, max(length - value.shape[1], 0)))
        values.append(value)
    return tuple(values)


def _trials(spec: ExportSpec, inputs: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    """Yield inputs of several sizes: as given, one example, three of half the length, and of the greatest length."""
    yield inputs
    yield tuple(value[:1] for value in inputs)
    name = next(iter(spec.inputs))
    three = tuple(torch.cat([value, value[:1]]) for value in inputs)
    yield _of_length(spec, three, (inputs[0].shape[-1] + 1) // 2)
    if 1 in spec.dynamic.get(name, {}):
        yield _of_length(spec, inputs, spec.inputs[name][0])


def _verify(spec: ExportSpec, artefact: Artefact, inputs: tuple[Tensor, ...], tolerance: float) -> None:
    network = ArtefactNetwork(artefact, threads=1)
    with torch.inference_mode():
        for trial in _trials(spec, inputs):
            share = difference(spec.module(*trial), network(*trial))
            if not share <= tolerance:
                raise PtftError(
                    f"{type(spec.module).__name__} was exported, but ONNX Runtime gives something else than torch: "
                    f"{share:.2g} of the largest output for inputs of shape {tuple(trial[0].shape)}, where up to "
                    f"{tolerance:g} is rounding. It cannot be compressed; choose another model="
                )


def _refused(module: nn.Module, form: str, error: Exception) -> PtftError:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return PtftError(
        f"{type(module).__name__} cannot be exported as {form}: {lines[0].strip()}. torch.export wants a forward "
        "whose course hangs on no value of a tensor; choose another model="
    )


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep off the console what libraries say of their own inner works while they export or quantise."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels: Mapping[logging.Logger, int] = {logger: logger.level for logger in loggers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)
