"""Which layers of a network stand in one row, so that some can be left out; and its parts afterwards.

Legend: L layers in a row.
"""

import dataclasses
from collections.abc import Sequence

from torch import nn

from ptft.errors import ConfigError
from ptft.model.parts import HasParts, Parts, belongs


def layer_row(network: nn.Module) -> tuple[str, int]:
    """Return the name of the list that holds the blocks of a network, and how many there are.

    Raises:
        ConfigError: The blocks are not one row of layers that fit each other's places.
    """
    title = type(getattr(network, "model", network)).__name__
    why = f"{title} has no row of like layers of which some could be dropped: "
    if not isinstance(network, HasParts):
        raise ConfigError(f"{why}it tells no parts; leave drop_layers out")
    blocks = network.parts().blocks
    lists = {name.rpartition(".")[0] for block in blocks for name in block}
    for name in sorted(lists, key=len):
        found = network.get_submodule(name) if name else network
        names = [f"{name}.{child}" for child, _ in found.named_children()]
        if not isinstance(found, nn.ModuleList | nn.Sequential) or len(names) != len(blocks):
            continue
        if all(child in block for child, block in zip(names, blocks, strict=True)):
            if len({type(layer) for layer in found}) > 1 or len({_norms(layer) for layer in found}) > 1:
                raise ConfigError(f"{why}its layers differ; leave drop_layers out")
            return name, len(names)
    raise ConfigError(f"{why}its blocks lie in several lists; leave drop_layers out")


def kept_parts(parts: Parts, layers: str, names: Sequence[str], keep: Sequence[int]) -> Parts:
    """Return the parts of a network after layers of a row were dropped.

    Args:
        parts: Before.
        layers: Name of the row.
        names: What its layers were called.
        keep: Places of those that stay; they are called 0, 1 ... now.
    """
    old = {f"{layers}.{name}": place for place, name in enumerate(names)}
    blocks: list[list[str]] = [[] for _ in keep]
    for block in parts.blocks:
        place = next((old[name] for name in block if name in old), None)
        assert place is not None, "each block holds one layer of the row"
        target = max((new for new, kept in enumerate(keep) if kept <= place), default=0)
        for name in block:
            if name not in old:  # a norm after the last layer, say, which stays whatever is dropped
                blocks[target].append(name)
            elif place in keep:
                blocks[target].append(f"{layers}.{target}")
    return dataclasses.replace(parts, blocks=tuple(tuple(block) for block in blocks))


def update_parts(network: nn.Module, layers: str, names: Sequence[str], keep: Sequence[int]) -> None:
    """Tell a network that keeps its parts as they were found which layers it still has; see `kept_parts`.

    Wrappers of transformers keep them as `_parts`; those of timm and torchvision as a `parts` function of their own.
    """
    own = vars(network).get("parts")
    found = own() if own is not None else getattr(network, "_parts", None)
    if not isinstance(found, Parts) or not any(belongs(name, layers) for block in found.blocks for name in block):
        return
    kept = kept_parts(found, layers, names, keep)
    if own is not None:
        network.parts = lambda: kept  # type: ignore[assignment]
    else:
        network._parts = kept  # type: ignore[assignment]


def _norms(layer: nn.Module) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a layer's norms, which have the width of what runs through it; or of all its parameters."""
    norms = [tuple(p.shape) for m in layer.modules() if "Norm" in type(m).__name__ for p in m.parameters(recurse=False)]
    return tuple(norms or (tuple(parameter.shape) for parameter in layer.parameters()))
