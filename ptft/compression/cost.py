"""What a network costs: multiply-adds of one pass, parameters, and the share of its weights that are zero.

Multiply-adds are those of convolutions and matrix products, as torch.utils.flop_counter counts them (two operations
each); norms, activations and pooling are not among them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.task.task import Task


def network_inputs(task: Task, batch: Batch) -> tuple[Tensor, ...]:
    """Return the tensors of a batch that the network of a task takes, in the order of its arguments.

    Args:
        task: A task that knows its data: `task.spec`.
        batch: A batch as the loaders give it.
    """
    names: Sequence[str] = task.spec.inputs  # type: ignore[union-attr, assignment]
    return tuple(batch[name] for name in names)


def example_inputs(spec: DataSpec) -> tuple[Tensor, ...]:
    """Return arguments for a network that was built for some data: one example of zeros, all of it looked at."""
    kind = torch.float32 if spec.kind == "image" else torch.int64
    return tuple(torch.full((1, *spec.shape), int(name == "attention_mask"), dtype=kind) for name in spec.inputs)


@torch.no_grad()
def multiply_adds(network: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Return how many multiply-adds a network takes for some inputs, in evaluation mode: those of the whole batch.

    Args:
        network: The network; its mode is put back.
        inputs: Its arguments, on its device.
    """
    from torch.utils.flop_counter import FlopCounterMode  # takes seconds to import

    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            network(*inputs)
    finally:
        for module, training in modes:
            module.training = training
    return int(counter.get_total_flops()) // 2


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters, those that are shared counted once."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_zeros(network: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the weights are exactly 0, and how many there are.

    Weights are parameters of two dimensions and more; norms and biases are no weights.
    """
    weights = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros, sum(weight.numel() for weight in weights)


def sparsity(network: nn.Module) -> float:
    """Return the share of the weights that are exactly 0, from 0 to 1; 0 where there are no weights."""
    zeros, total = count_zeros(network)
    return zeros / total if total else 0.0
