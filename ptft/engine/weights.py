"""Which tensors of a task are its own, and how saved ones come back."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from ptft.engine.average import averaged
from ptft.engine.checkpoint import Checkpoint
from ptft.engine.optimize import PhaseOptimizer
from ptft.errors import CheckpointError
from ptft.task.task import Task


def own_tensors(task: Task) -> dict[str, Tensor]:
    """Return weights and buffers by name, without those of external networks: what a checkpoint saves."""
    return {name: tensor for name, tensor in task.state_dict().items() if name.partition(".")[0] not in task.external}


def least_bytes(task: Task, optimizers: Iterable[PhaseOptimizer], *, averaged: bool) -> int:
    """Return how large a checkpoint becomes at least: weights, their average, and the moments of known optimizers."""
    total = (2 if averaged else 1) * sum(tensor.nbytes for tensor in own_tensors(task).values())
    for optimizer in optimizers:
        settings = optimizer.optimizer.defaults
        moments = len(settings.get("betas", ())) or int(bool(settings.get("momentum")))
        total += moments * sum(parameter.nbytes for parameter in optimizer.parameters)
    return total


def load_own(task: Task, tensors: Mapping[str, Tensor]) -> None:
    """Put saved tensors in their places.

    Raises:
        CheckpointError: Names or shapes differ.
    """
    own = own_tensors(task)
    missing, unexpected = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    differing = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if missing or unexpected or differing:
        parts = {"missing": missing, "unexpected": unexpected, "of another shape": differing}
        found = "; ".join(f"{what}: {', '.join(names[:3])} ({len(names)})" for what, names in parts.items() if names)
        raise CheckpointError(f"the checkpoint is not one of this model: {found}")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def load_for_evaluation(task: Task, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's weights in their places: the averaged ones if the run kept an average."""
    load_own(task, {**checkpoint.tensors, **averaged(checkpoint.state)})
