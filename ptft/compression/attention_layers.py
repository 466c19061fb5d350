"""The heads and feed-forward neurons of a transformer: where they are, how to cut some out, or add empty ones.

A layer is known by what its modules are called, one `_Family` for each way that libraries write it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ptft.compression.self_attention import is_plain
from ptft.errors import ConfigError
from ptft.model.parts import HasParts

ARCHITECTURES = (
    "bert", "camembert", "deit", "distilbert", "electra", "gpt2", "roberta", "roberta-prelayernorm", "vit",
    "xlm-roberta",
)  # fmt: skip
"""Those of transformers whose layers are tried: each head works on its own, and no table of theirs counts heads."""


@dataclass(frozen=True)
class Axis:
    """A dimension of a parameter along which units stand.

    Attributes:
        tensor: Name of the parameter.
        dim: Its dimension.
        repeats: How often all units stand there in a row: 3 where query, key and value are one.
    """

    tensor: str
    dim: int
    repeats: int = 1


@dataclass(frozen=True)
class Group:
    """Units of one layer of which some can go: the heads of an attention, the neurons of a feed-forward.

    Attributes:
        kind: What they are.
        layer: Name of the layer.
        count: How many there are.
        size: Rows of a unit along an axis.
        axes: Where they stand.
        leaving: Name of the module that reads what the units give, side by side.
        numbers: Whole numbers that modules keep: module, attribute, and what it is for one unit.
    """

    kind: Literal["heads", "feed_forward"]
    layer: str
    count: int
    size: int
    axes: tuple[Axis, ...]
    leaving: str
    numbers: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class _Family:
    """How the modules of a layer are called, seen from the layer.

    Attributes:
        attention: The module that knows its heads.
        entering: Projections into the heads; one alone is query, key and value in a row.
        leaving: The projection out of them.
        heads: Attribute of the attention: number of heads.
        size: Attribute of the attention: size of a head.
        widths: Attributes of the attention that are heads times size.
        feed_forward: First and second layer.
    """

    attention: str
    entering: tuple[str, ...]
    leaving: str
    heads: str
    size: str
    widths: tuple[str, ...]
    feed_forward: tuple[str, str]


_BERT = _Family(
    "attention.self", ("attention.self.query", "attention.self.key", "attention.self.value"), "attention.output.dense",
    "num_attention_heads", "attention_head_size", ("all_head_size",), ("intermediate.dense", "output.dense"),
)  # fmt: skip
_DISTILBERT = _Family(
    "attention", ("attention.q_lin", "attention.k_lin", "attention.v_lin"), "attention.out_lin",
    "n_heads", "attention_head_size", (), ("ffn.lin1", "ffn.lin2"),
)  # fmt: skip
_GPT2 = _Family(
    "attn", ("attn.c_attn",), "attn.c_proj", "num_heads", "head_dim", ("split_size",), ("mlp.c_fc", "mlp.c_proj")
)
_VIT = _Family(
    "attention", ("attention.q_proj", "attention.k_proj", "attention.v_proj"), "attention.o_proj",
    "num_attention_heads", "head_dim", (), ("mlp.fc1", "mlp.fc2"),
)  # fmt: skip
_TIMM = _Family("attn", ("attn.qkv",), "attn.proj", "num_heads", "head_dim", ("attn_dim",), ("mlp.fc1", "mlp.fc2"))
_TORCHVISION = _Family(
    "self_attention", ("self_attention.in_proj",), "self_attention.out_proj", "num_heads", "head_size", (),
    ("mlp.0", "mlp.3"),
)  # fmt: skip
_FAMILIES = (_BERT, _DISTILBERT, _GPT2, _VIT, _TIMM, _TORCHVISION)


def find_groups(network: nn.Module) -> list[Group]:
    """Return the heads and the neurons of each layer of a transformer, in order; torch's own attention was replaced.

    Raises:
        ConfigError: It is no transformer of a kind that is known, or a layer was changed by something else.
    """
    config = config_of(network)
    if config is not None and config.model_type not in ARCHITECTURES:
        raise ConfigError(
            f"the heads of `{config.model_type}` cannot be told apart; pruning them is known for "
            f"{', '.join(ARCHITECTURES)}, for models of timm and torchvision, and for model=vision/vit"
        )
    groups: list[Group] = []
    for layer in _layers(network):
        found = next((made for family in _FAMILIES if (made := _groups(network, layer, family))), None)
        if found is None:
            raise ConfigError(
                f"{_title(network)}: its block `{layer}` holds no attention with heads and a feed-forward of two plain "
                "layers, so it has none to prune; choose another step (low_rank comes after it, not before)"
            )
        groups += found
    return groups


def torch_attentions(network: nn.Module) -> list[str]:
    """Return the names of torch's own attentions in the blocks of a network, which have to be replaced to be cut."""
    names = [f"{layer}.{_TORCHVISION.attention}" for layer in _layers(network)]
    return [name for name in names if (found := _module(network, name)) is not None and is_plain(found)]


def cut(network: nn.Module, group: Group, keep: Sequence[int]) -> None:
    """Keep some units of a group, in place; the others give nothing any more.

    Args:
        network: The network that the group was found in.
        group: The units, as they are now.
        keep: Places of those that stay, in order.
    """
    rows = (torch.tensor(keep)[:, None] * group.size + torch.arange(group.size)).flatten()
    for axis in group.axes:
        old = network.get_parameter(axis.tensor)
        places = torch.cat([rows + part * group.count * group.size for part in range(axis.repeats)])
        _put(network, axis.tensor, old.detach().index_select(axis.dim, places.to(old.device)))
    _set_numbers(network, group, len(keep))


def grow(network: nn.Module, group: Group, count: int) -> None:
    """Add units of zeros behind those of a group until there are `count`, in place; no output changes.

    A head of zeros gives zeros, as its values are, and so does a neuron, whose second layer reads it with zeros.
    """
    missing = (count - group.count) * group.size
    for axis in group.axes:
        old = network.get_parameter(axis.tensor).detach()
        shape = list(old.shape)
        shape[axis.dim] = missing
        parts = [torch.cat([part, part.new_zeros(shape)], axis.dim) for part in old.chunk(axis.repeats, axis.dim)]
        _put(network, axis.tensor, torch.cat(parts, axis.dim))
    _set_numbers(network, group, count)


def config_of(network: nn.Module) -> Any | None:
    """Return the config of a network of transformers in its wrapper, or None of any other network."""
    config = getattr(getattr(network, "model", None), "config", None)
    return config if hasattr(config, "model_type") else None


def _layers(network: nn.Module) -> Iterator[str]:
    """Yield the name of each block; one of several parts is called by the part that holds most."""
    if not isinstance(network, HasParts):
        raise ConfigError(f"{type(network).__name__} has no parts(), so its layers are not known")
    for block in network.parts().blocks:
        modules = {name: found for name in block if (found := _module(network, name)) is not None}
        if modules:
            yield max(modules, key=lambda name: sum(p.numel() for p in modules[name].parameters()))


def _groups(network: nn.Module, layer: str, family: _Family) -> tuple[Group, Group] | None:
    """Return the heads and the neurons of a layer, or None where it is not written as this family's."""
    attention = _module(network, f"{layer}.{family.attention}")
    entering = [f"{layer}.{name}" for name in family.entering]
    leaving = f"{layer}.{family.leaving}"
    first, second = (f"{layer}.{name}" for name in family.feed_forward)
    names = (*entering, leaving, first, second)
    if attention is None or _is_special(attention) or not all(_is_linear(_module(network, name)) for name in names):
        return None
    count, size = getattr(attention, family.heads, None), getattr(attention, family.size, None)
    repeats = 3 if len(entering) == 1 else 1
    fits = isinstance(count, int) and isinstance(size, int) and _fits(network, entering, leaving, repeats, count * size)
    if not (isinstance(count, int) and isinstance(size, int) and fits):
        return None
    width = _width(network, second, coming=True)
    if _width(network, first, coming=False) != width:
        return None
    name = f"{layer}.{family.attention}"
    axes = [axis for entry in entering for axis in _axes(network, entry, coming=False, repeats=repeats)]
    numbers = [(name, family.heads, 1), *((name, attribute, size) for attribute in family.widths)]
    numbers += [number for entry in entering for number in _number(network, entry, False, repeats * size)]
    heads = Group("heads", layer, count, size, (*axes, *_axes(network, leaving, coming=True)), leaving,
                  (*numbers, *_number(network, leaving, True, size)))  # fmt: skip
    both = (*_axes(network, first, coming=False), *_axes(network, second, coming=True))
    widths = (*_number(network, first, False, 1), *_number(network, second, True, 1))
    return heads, Group("feed_forward", layer, width, 1, both, second, widths)


def _fits(network: nn.Module, entering: Sequence[str], leaving: str, repeats: int, width: int) -> bool:
    """Tell whether all projections have the width that the heads add up to; shared keys and values have not."""
    made = all(_width(network, name, coming=False) == repeats * width for name in entering)
    return made and _width(network, leaving, coming=True) == width


def _is_special(attention: nn.Module) -> bool:
    """Tell whether something stands between the heads and the projection out of them (timm's norms and gates)."""
    gate, norm = getattr(attention, "gate", None), getattr(attention, "norm", None)
    return gate is not None or not (norm is None or isinstance(norm, nn.Identity))


def _is_linear(module: nn.Module | None) -> bool:
    return type(module) in (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear) or _is_transposed(module)


def _is_transposed(module: nn.Module | None) -> bool:
    """Tell whether a module is transformers' `Conv1D`: a linear layer whose weight is (in, out)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf") and hasattr(module, "nx")


def _axes(network: nn.Module, name: str, *, coming: bool, repeats: int = 1) -> list[Axis]:
    """Return where the numbers that come into a linear layer, or leave it, stand in its parameters."""
    module = network.get_submodule(name)
    dim = int(coming) if not _is_transposed(module) else int(not coming)
    axes = [Axis(f"{name}.weight", dim, repeats)]
    if not coming and module.bias is not None:
        axes.append(Axis(f"{name}.bias", 0, repeats))
    return axes


def _number(network: nn.Module, name: str, coming: bool, each: int) -> list[tuple[str, str, int]]:
    names = ("nf", "nx") if _is_transposed(network.get_submodule(name)) else ("out_features", "in_features")
    return [(name, names[coming], each)]


def _width(network: nn.Module, name: str, *, coming: bool) -> int:
    axis = _axes(network, name, coming=coming)[0]
    return network.get_parameter(axis.tensor).shape[axis.dim]


def _module(network: nn.Module, name: str) -> nn.Module | None:
    try:
        return network.get_submodule(name)
    except AttributeError:  # a parameter, or nothing of that name
        return None


def _put(network: nn.Module, name: str, value: Tensor) -> None:
    """Put another tensor in the place of a parameter."""
    holder, _, last = name.rpartition(".")
    learns = network.get_parameter(name).requires_grad
    network.get_submodule(holder).register_parameter(last, nn.Parameter(value.contiguous(), requires_grad=learns))


def _set_numbers(network: nn.Module, group: Group, count: int) -> None:
    for name, attribute, each in group.numbers:
        setattr(network.get_submodule(name), attribute, each * count)


def _title(network: nn.Module) -> str:
    return type(getattr(network, "model", network)).__name__
