"""Puts rounding into a network and finds the ranges of its activations, from training examples alone.

Where a convolution's output may be cut off - at the 0 of a ReLU behind it, at the 6 of a ReLU6 - is seen from
gradients, and whether an input is rounded already from its values: so it works for networks that call functions in a
`forward` of their own, through poolings and reshapes.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ptft.compression.fake_quantise import KINDS, RoundedConv2d, Rounder, round_layer, rounded_layers, rounders
from ptft.compression.fold import fold_batch_norms
from ptft.compression.integers import FEWEST_WEIGHTS, SHORTEST_KERNEL
from ptft.data.data_module import Batch
from ptft.errors import ConfigError
from ptft.task.task import Task

Bounds = tuple[float | None, float | None]
_NODES = ("/Conv", "/Gemm", "/MatMul")
_RELU6 = 6.0
_RECENT = 8
"""How many of the last outputs an input is looked for among."""


def quantisable(network: nn.Module, exclude: Sequence[str] = ()) -> list[str]:
    """Return the names of the layers that are to compute in integers.

    Args:
        network: The network.
        exclude: Regular expressions; a layer whose name one is found in stays as it is.

    Returns:
        Those that gain by it, as `integers` tells; all where none does.

    Raises:
        ConfigError: An expression is none, or is found in no name.
    """
    layers = {name: module for name, module in network.named_modules() if type(module) in KINDS}
    barred: set[str] = set()
    for pattern in exclude:
        found = matching(layers, pattern)
        if not found:
            raise ConfigError(f"exclude={pattern} matches no layer of the network; they are {', '.join(layers)}")
        barred |= found
    left = {name: module for name, module in layers.items() if name not in barred}
    return [name for name, module in left.items() if _gains(module)] or list(left)


def matching(names: Iterable[str], pattern: str) -> set[str]:
    """Return the names that a regular expression is found in, as they are or as nodes of ONNX: `head/Gemm`.

    Raises:
        ConfigError: It is none.
    """
    try:
        return {name for name in names if any(re.search(pattern, name + end) for end in ("", *_NODES))}
    except re.error as error:
        raise ConfigError(f"exclude: {pattern!r} is no regular expression ({error})") from error


def _gains(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups > 1 or module.weight[0].numel() >= SHORTEST_KERNEL
    return isinstance(module, nn.Linear) and module.weight.numel() >= FEWEST_WEIGHTS


def fake_quantise(
    task: Task,
    batches: Callable[[], Iterator[Batch]],
    *,
    levels: Literal[127, 63] = 127,
    exclude: Sequence[str] = (),
) -> list[str]:
    """Make a task's network one that rounds, in place: norms folded, ranges found and frozen.

    Args:
        task: In evaluation mode, on the CPU.
        batches: Yields training examples, the same every time.
        levels: The largest integer of a weight: 127, or 63 for 7 bits.
        exclude: Regular expressions of layers to leave as they are.

    Returns:
        The names of the layers that round, within the network.
    """
    network = task.get_submodule("model")
    first = next(batches())

    def run() -> list[Tensor]:
        return [value for value in task(first).values() if value.is_floating_point()]

    fold_batch_norms(network, run)
    bounds = output_bounds(network, quantisable(network, exclude), run)
    for name, (least, most) in bounds.items():
        round_layer(network.get_submodule(name), levels, (least, most))
    with torch.no_grad():
        for batch in batches():
            task(batch)
        for rounder in rounders(network):
            rounder.freeze()
        _share(network, run)
    return list(bounds)


def output_bounds(network: nn.Module, names: Iterable[str], run: Callable[[], Sequence[Tensor]]) -> dict[str, Bounds]:
    """Return beyond which values the outputs of layers do not matter, for the layers that a run calls.

    A bound is found where values lie beyond it whose gradient is exactly 0, while others have one.

    Args:
        network: In evaluation mode.
        names: Names of the layers.
        run: Runs it on the same examples every time.
    """
    kept: dict[str, list[Tensor]] = {}

    def keep(name: str, output: Tensor) -> Tensor:
        held = output if output.requires_grad else output.detach().requires_grad_()
        kept.setdefault(name, []).append(held)
        return held.clone()  # which a ReLU may then change in place

    handles = [
        network.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name in names
    ]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.enable_grad():
            outputs = [value.float() for value in run()]
            total = sum((value * torch.randn(value.shape, generator=generator)).sum() for value in outputs)
            held = [value for values in kept.values() for value in values]
            found = torch.autograd.grad(total, held, allow_unused=True) if held else ()  # type: ignore[arg-type]
    finally:
        for handle in handles:
            handle.remove()
    gradients = iter(found)
    return {name: _bounds([(value, next(gradients)) for value in values]) for name, values in kept.items()}


def _bounds(pairs: Sequence[tuple[Tensor, Tensor | None]]) -> Bounds:
    """Return the bounds of a layer that was called once or several times."""
    known = [(value.detach(), gradient) for value, gradient in pairs if gradient is not None]
    if not any(bool(gradient.any()) for _, gradient in known):
        return None, None
    values = torch.cat([value.flatten() for value, _ in known])
    moves = torch.cat([gradient.flatten() for _, gradient in known]) != 0
    low, high = values < 0, values > _RELU6
    least = 0.0 if bool(low.any()) and not bool(moves[low].any()) else None
    most = _RELU6 if bool(high.any()) and not bool(moves[high].any()) else None
    return least, most


def _share(network: nn.Module, run: Callable[[], Sequence[Tensor]]) -> None:
    """Give layers whose input is rounded already the rounding that it came through, which then changes nothing."""
    recent: list[Rounder] = []

    def before(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        values = given[0]
        for rounder in reversed(recent[-_RECENT:]):
            if bool(values.any()) and torch.equal(rounder(values), values):
                layer.input_rounder = rounder
                return

    def after(layer: nn.Module, _: tuple[Tensor, ...], __: Tensor) -> None:
        if isinstance(layer, RoundedConv2d):
            recent.append(layer.output_rounder)

    handles = []
    for layer in rounded_layers(network).values():
        handles += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
