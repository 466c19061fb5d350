"""How a compressed network differs from the one that its config builds, as JSON values, and how to build it again.

    shapes     tensors of other shapes, and the whole numbers of modules that go with them (channels, heads, widths)
    layers     a list of layers of which only some are kept
    low_rank   layers that became two of a lower rank
    attention  torch's own attentions replaced by ones whose heads can be cut
    vocabulary a table of tokens that became a smaller one

Edits are applied in order to a fresh network; the weights are loaded afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ptft.compression.layer_parts import update_parts
from ptft.compression.self_attention import replace_attention
from ptft.compression.vocabulary import trimmed_embedding
from ptft.errors import CheckpointError

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Snapshot:
    """The shape of a network at one moment.

    Attributes:
        tensors: Shape of each parameter and buffer by name.
        numbers: Whole numbers, and rows of them, that modules keep as attributes, by module and attribute.
    """

    tensors: Shapes
    numbers: dict[str, dict[str, Any]]


def snapshot(network: nn.Module) -> Snapshot:
    """Return the shape of a network as it is now."""
    tensors = {name: tuple(tensor.shape) for name, tensor in _tensors(network).items()}
    return Snapshot(tensors, {name: _numbers(module) for name, module in network.named_modules()})


def shapes_edit(before: Snapshot, network: nn.Module, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the edit that turns a network of the shape `before` into one of the shape that `network` has now.

    Args:
        before: Taken of the same network before its layers were cut.
        network: The network now, of the same modules.
        config: What changes in the config of a network of another library, by name.

    Raises:
        AssertionError: Modules came or went, which other kinds of edits are for.
    """
    after = snapshot(network)
    assert before.tensors.keys() == after.tensors.keys(), "a shapes edit keeps every tensor"
    assert before.numbers.keys() == after.numbers.keys(), "a shapes edit keeps every module"
    tensors = {name: list(shape) for name, shape in after.tensors.items() if shape != before.tensors[name]}
    numbers = {}
    for name, values in after.numbers.items():
        if changed := {key: value for key, value in values.items() if before.numbers[name].get(key) != value}:
            numbers[name] = {k: list(v) if isinstance(v, tuple) else v for k, v in changed.items()}
    return {"kind": "shapes", "tensors": tensors, "numbers": numbers, "config": dict(config or {})}


def apply_edits(network: nn.Module, edits: Sequence[Mapping[str, Any]]) -> None:
    """Give a fresh network the structure of a compressed one, in place; its weights then have to be loaded.

    Raises:
        CheckpointError: An edit does not fit the network.
    """
    kinds = {
        "shapes": _apply_shapes,
        "layers": _apply_layers,
        "low_rank": _apply_low_rank,
        "attention": _apply_attention,
        "vocabulary": _apply_vocabulary,
    }
    for edit in edits:
        try:
            kinds[str(edit["kind"])](network, edit)
        except (KeyError, AttributeError, TypeError, IndexError, ValueError) as error:
            raise CheckpointError(f"a compressed network's structure does not fit its model: {error!r}") from error


def keep_layers(network: nn.Module, layers: str, keep: Sequence[int]) -> None:
    """Keep some layers of a list of modules, in their order.

    Args:
        network: The network.
        layers: Name of its `nn.ModuleList` or `nn.Sequential`.
        keep: Places of those that stay.
    """
    found = network.get_submodule(layers)
    assert isinstance(found, nn.ModuleList | nn.Sequential), layers
    kept = [found[place] for place in keep]
    update_parts(network, layers, [name for name, _ in found.named_children()], keep)
    parent, _, name = layers.rpartition(".")
    setattr(network.get_submodule(parent), name, type(found)(kept) if isinstance(found, nn.ModuleList)
            else nn.Sequential(*kept))  # fmt: skip
    for place, layer in enumerate(kept):
        for module in layer.modules():  # transformers numbers its layers, for caches
            if isinstance(getattr(module, "layer_idx", None), int):
                module.layer_idx = place  # type: ignore[assignment]


def split_layer(layer: nn.Module, rank: int) -> nn.Sequential:
    """Return two layers of a lower rank in the place of one, of the same input and output; weights are yet to be set.

    A linear layer becomes (rank x in) and (out x rank); a convolution (Zhang and others, arXiv 1505.06798) one of its
    own kernel with `rank` channels, then a pointwise one.

    Args:
        layer: A linear layer, or a convolution of one group.
        rank: Width between the two.
    """
    if isinstance(layer, nn.Linear):
        pair = nn.Sequential(
            nn.Linear(layer.in_features, rank, bias=False),
            nn.Linear(rank, layer.out_features, bias=layer.bias is not None),
        )
    elif isinstance(layer, nn.Conv2d) and layer.groups == 1:
        settings: dict[str, Any] = {
            name: getattr(layer, name) for name in ("stride", "padding", "dilation", "padding_mode")
        }
        pair = nn.Sequential(
            nn.Conv2d(layer.in_channels, rank, layer.kernel_size, bias=False, **settings),  # type: ignore[arg-type]
            nn.Conv2d(rank, layer.out_channels, 1, bias=layer.bias is not None),
        )
    else:
        raise TypeError(f"{type(layer).__name__} has no form of a lower rank")
    weight = layer.weight
    pair.to(device=weight.device, dtype=weight.dtype)
    return pair.train(layer.training)


def replace_module(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put another module in the place of the one called `name`."""
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)


def _apply_shapes(network: nn.Module, edit: Mapping[str, Any]) -> None:
    tensors = _tensors(network)
    for name, shape in edit["tensors"].items():
        holder, _, last = name.rpartition(".")
        module, old = network.get_submodule(holder), tensors[name]
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(torch.zeros(shape, dtype=old.dtype, device=old.device), requires_grad=old.requires_grad)
            module.register_parameter(last, new)
        else:
            persistent = last not in module._non_persistent_buffers_set
            module.register_buffer(last, torch.zeros(shape, dtype=old.dtype, device=old.device), persistent=persistent)
    for name, numbers in edit["numbers"].items():
        module = network.get_submodule(name)
        for key, value in numbers.items():
            setattr(module, key, tuple(value) if isinstance(value, list) else value)
    _change_config(network, edit.get("config") or {})
    _tie(network)


def _apply_layers(network: nn.Module, edit: Mapping[str, Any]) -> None:
    keep_layers(network, str(edit["layers"]), [int(place) for place in edit["keep"]])
    _change_config(network, edit.get("config") or {})


def _apply_low_rank(network: nn.Module, edit: Mapping[str, Any]) -> None:
    for name, rank in edit["ranks"].items():
        replace_module(network, name, split_layer(network.get_submodule(name), int(rank)))


def _apply_attention(network: nn.Module, edit: Mapping[str, Any]) -> None:
    replace_attention(network, [str(name) for name in edit["modules"]])


def _apply_vocabulary(network: nn.Module, edit: Mapping[str, Any]) -> None:
    table = network.get_submodule(str(edit["embedding"]))
    if not isinstance(table, nn.Embedding):
        raise TypeError(f"{edit['embedding']} is no embedding")
    replace_module(network, str(edit["embedding"]), trimmed_embedding(table, int(edit["rows"]), edit["padding"]))


def _change_config(network: nn.Module, changes: Mapping[str, Any]) -> None:
    """Tell the config of a network of transformers of the change, so that what is saved loads there."""
    inner = getattr(network, "model", None)
    config = getattr(inner, "config", None)
    for key, value in changes.items():
        if config is None:
            raise AttributeError("the network has no config")
        setattr(config, key, value)


def _tie(network: nn.Module) -> None:
    """Tie the weights again that a network of transformers shares, as a table that was cut became two."""
    tie = getattr(getattr(network, "model", None), "tie_weights", None)
    if tie is not None:
        tie()


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and buffers by name, those too that are tied or are not saved."""
    return {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }


def _numbers(module: nn.Module) -> dict[str, Any]:
    """Return the whole numbers among a module's attributes: its channels, features, heads, a norm's shape."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_") and _whole(value)}


def _whole(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_whole(item) for item in value)
    return isinstance(value, int) and not isinstance(value, bool)
