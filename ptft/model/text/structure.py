"""The parts of a network of transformers over tokens: its base model below, what the task needs above it."""

from torch import nn

from ptft.errors import ConfigError
from ptft.model.discovery import parts_below
from ptft.model.parts import Parts

POOLER = "pooler"
"""What the library calls the layer over the first token, of those base models that have one."""


def find_parts(network: nn.Module, base: str, *, classes: bool) -> Parts:
    """Return the parts: all outside the base model is neck and head, and so is its pooler.

    Args:
        network: The network, as wrapped.
        base: Path of the base model in it.
        classes: Whether the head's outputs are classes.

    Raises:
        ConfigError: It has no head, or no row of equal modules.
    """
    outer, _, inner = base.rpartition(".")
    children = network.get_submodule(outer).named_children()
    top = [f"{outer}.{name}" for name, child in children if name != inner and child.state_dict()]
    if not top:
        raise ConfigError(f"{type(network.get_submodule(outer)).__name__} has no head; choose another architecture")
    pooler = getattr(network.get_submodule(base), POOLER, None)
    neck = [f"{base}.{POOLER}"] if isinstance(pooler, nn.Module) and pooler.state_dict() else []
    found = parts_below(network, top[-1], (*neck, *top[:-1]))
    return Parts(found.stem, found.blocks, found.head, found.neck, classes)
