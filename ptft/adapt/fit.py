"""Bring pre-trained weights to the shape of this model where that keeps their meaning: channels, positions, counters.

What is changed is told to the user: a network that sees other pictures than it was trained on deserves a look.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ptft.model.parts import AdaptsTensors

COMPILED = "_orig_mod."
"""What torch.compile puts before the names of a module, at any depth."""
COUNTER = "num_batches_tracked"
"""How many batches a batch norm has seen; files written before torch 0.4.1 lack it."""


def fit_tensors(
    model: nn.Module, own: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the given weights fitted to the model's own, and a phrase for each whose shape was changed.

    Args:
        model: The network; one that knows how to read other forms of its weights (`adapt_tensors`) is asked first.
        own: Its tensors by name.
        given: Weights by the same names; not changed.
    """
    fitted = dict(given)
    changes = []
    if isinstance(model, AdaptsTensors):
        fitted = dict(model.adapt_tensors(given))
        for name, value in fitted.items():
            if name in given and given[name].shape != value.shape:
                changes.append(f"{name} resized, {_sizes(given[name])} -> {_sizes(value)}")
        kept = {value.data_ptr() or id(value) for value in fitted.values()}
        weights = {name: value for name, value in given.items() if value.is_floating_point() and name not in fitted}
        if idle := [_parent(name) for name, value in weights.items() if (value.data_ptr() or id(value)) not in kept]:
            changes.append(f"left out, as the model has no use for it: {', '.join(dict.fromkeys(idle))}")
    # As torch does for old files: a counter that is not there starts at 0; only momentum=None ever reads it.
    for name, value in own.items():
        stem, _, last = name.rpartition(".")
        if last == COUNTER and name not in fitted and f"{stem}.running_mean" in fitted:
            fitted[name] = torch.zeros_like(value)
    first = _first_convolution(model)
    if first in own and first in fitted and _other_channels(own[first], fitted[first]):
        before, after = fitted[first].shape[1], own[first].shape[1]
        fitted[first] = fit_channels(fitted[first], after)
        changes.append(f"first convolution adapted, {before} -> {after} channels")
    return fitted, tuple(changes)


def fit_channels(weight: Tensor, channels: int) -> Tensor:
    """Return the weight of a first convolution, (out, in, height, width), for another number of input channels.

    For one channel the weights are summed: a grey picture gives what its copy in all channels gave. For more, they are
    repeated in turn and scaled by in / channels: equal channels give what they gave before, wherever `channels` is a
    multiple of in. (The convention of timm, for any number of channels.)
    """
    before = weight.shape[1]
    wide = weight.float()
    if channels == 1:
        fitted = wide.sum(dim=1, keepdim=True)
    else:
        order = torch.arange(channels) % before
        fitted = wide[:, order] * (before / channels)
    return fitted.to(weight.dtype)


def _first_convolution(model: nn.Module) -> str | None:
    """Return the name of the weight of the convolution that sees the picture: the first of the model."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            plain = name.replace(COMPILED, "")
            return f"{plain}.weight" if module.groups == 1 else None
    return None


def _other_channels(own: Tensor, given: Tensor) -> bool:
    if own.ndim != 4 or given.ndim != 4 or not given.is_floating_point():
        return False
    return own.shape[1] != given.shape[1] and own.shape[:1] + own.shape[2:] == given.shape[:1] + given.shape[2:]


def _parent(name: str) -> str:
    return name.rpartition(".")[0] or name


def _sizes(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
