"""Folds batch normalisation into the convolutions before it: one affine map instead of two, the same outputs.

Jacob and others (arXiv 1712.05877), section 3.2. Which norm follows which convolution is seen from one batch, so that
it works for networks that call their layers in a `forward` of their own.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ptft.compression.structure import replace_module

Run = Callable[[], Sequence[Tensor]]
"""Runs a network on some examples and returns what it gives."""
_TOLERANCE = 1e-3
"""By how much a folded network may differ, as a share of its largest output: rounding stays far below."""


def fold_batch_norms(network: nn.Module, run: Run) -> list[tuple[str, str]]:
    """Fold each `BatchNorm2d` that alone reads the output of a `Conv2d` into it, and return both names of each.

    The norms become `Identity`; the convolutions gain a bias.

    Args:
        network: In evaluation mode; changed in place.
        run: Runs it on the same examples every time.
    """
    with torch.no_grad():
        pairs = conv_norm_pairs(network, run)
        before = [output.clone() for output in run()]
        undo = {pair: _fold(network, *pair) for pair in pairs}
        if _same(before, run()):
            return pairs
        for restore in undo.values():
            restore()
        kept = []
        for pair in pairs:  # somebody else reads a convolution's output too
            restore = _fold(network, *pair)
            if _same(before, run()):
                kept.append(pair)
            else:
                restore()
    return kept


def conv_norm_pairs(network: nn.Module, run: Run) -> list[tuple[str, str]]:
    """Return the names of each `Conv2d` and the `BatchNorm2d` that takes its output as it is, each called once a run.

    Args:
        network: The network.
        run: Runs it.
    """
    made: dict[int, tuple[Tensor, int, str]] = {}  # holding the tensors keeps their ids from being used again
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def after_conv(name: str, output: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        made[id(output)] = (output, output._version, name)

    def before_norm(name: str, given: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        tensor, version, conv = made.get(id(given), (None, 0, ""))
        if tensor is given and given._version == version:  # nothing changed it in place since
            pairs.append((conv, name))

    handles = []
    for name, module in network.named_modules():
        if type(module) is nn.Conv2d:
            handles.append(module.register_forward_hook(lambda _, __, output, name=name: after_conv(name, output)))
        elif type(module) is nn.BatchNorm2d and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(lambda _, given, name=name: before_norm(name, given[0])))
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]


def _fold(network: nn.Module, conv_name: str, norm_name: str) -> Callable[[], None]:
    conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    replace_module(network, conv_name, fuse_conv_bn_eval(conv, norm))
    replace_module(network, norm_name, nn.Identity())

    def restore() -> None:
        replace_module(network, conv_name, conv)
        replace_module(network, norm_name, norm)

    return restore


def _same(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    pairs = zip(before, after, strict=True)
    return all(float((one - other).abs().max()) <= _TOLERANCE * float(one.abs().max()) for one, other in pairs)
