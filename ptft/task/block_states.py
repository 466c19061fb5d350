"""What goes on inside a network in a forward pass: what each block gives, and the queries, keys and values of the last.

Read by hooks that are there only during the pass, so that neither the network nor the way its attention is worked out
(eager, sdpa) has to know of it. Legend: B batch, T tokens, D width.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.parts import HasParts

SEPARATE = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"), ("q_lin", "k_lin", "v_lin"))
"""How networks call the layers that make queries, keys and values."""
JOINED = ("c_attn", "qkv", "Wqkv")
"""How they call one layer that makes all three, side by side in thirds."""


@dataclass
class Seen:
    """What was seen of one forward pass.

    Attributes:
        states: What each block gave, by its number from 0: (B, T, D), or (B, D, H, W) of pictures, or (B, D).
        projections: Queries, keys and values of the last block, (B, T, D) each.
    """

    states: dict[int, Tensor] = field(default_factory=dict)
    projections: dict[int, Tensor] = field(default_factory=dict)


@contextlib.contextmanager
def watching(network: nn.Module, who: str, *, states: bool, projections: bool) -> Iterator[Seen]:
    """Watch the forward passes of a network; of several the last counts.

    Args:
        network: The network.
        who: What messages call it.
        states: Whether to keep what blocks give.
        projections: Whether to keep queries, keys and values.

    Raises:
        ConfigError: It has no blocks, or no attention in the last of them.
    """
    seen, hooks = Seen(), []
    if states:
        for number, block in enumerate(blocks_of(network, who)):
            hooks.append(block.register_forward_hook(_StateHook(seen, number)))
    if projections:
        block = blocks_of(network, who)[-1]
        hooks += [
            module.register_forward_hook(_ProjectionHook(seen, places)) for module, places in _projecting(block, who)
        ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def blocks_of(network: nn.Module, who: str) -> list[nn.Module]:
    """Return the blocks of a network, first to last.

    Raises:
        ConfigError: It does not tell them.
    """
    blocks = network.parts().blocks if isinstance(network, HasParts) else ()
    modules = dict(network.named_modules())
    found = [next((modules[prefix] for prefix in block if prefix in modules), None) for block in blocks]
    known = [module for module in found if module is not None]
    if not known or len(known) < len(found):
        raise ConfigError(
            f"the network of {who}, {type(network).__name__}, tells no blocks (parts().blocks), so no hidden states "
            "can be compared; set hidden and attention to 0"
        )
    return known


def check_watchable(network: nn.Module, who: str, *, states: bool, projections: bool) -> None:
    """See that a network can be watched.

    Raises:
        ConfigError: It has no blocks, or no attention in the last of them.
    """
    with watching(network, who, states=states, projections=projections):
        pass


@dataclass(frozen=True)
class _StateHook:
    """Keeps what a block gives."""

    seen: Seen
    number: int

    def __call__(self, module: nn.Module, given: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple | list) else output
        if isinstance(states, Tensor):
            self.seen.states[self.number] = states


@dataclass(frozen=True)
class _ProjectionHook:
    """Keeps what a layer makes for attention: some of queries (0), keys (1) and values (2)."""

    seen: Seen
    places: tuple[int, ...]

    def __call__(self, module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(module, nn.MultiheadAttention):  # holds its three layers as one matrix, used inside
            output = F.linear(given[0], module.in_proj_weight, module.in_proj_bias)
            output = output if module.batch_first else output.transpose(0, 1)
        for place, part in zip(self.places, output.chunk(len(self.places), dim=-1), strict=True):
            self.seen.projections[place] = part


def _projecting(block: nn.Module, who: str) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Return the modules of a block that make queries, keys and values, each with which of them.

    Raises:
        ConfigError: There are none that are known.
    """
    by_name = {name.rpartition(".")[2]: module for name, module in block.named_modules()}
    for names in SEPARATE:
        if all(name in by_name for name in names):
            return [(by_name[name], (place,)) for place, name in enumerate(names)]
    for name in JOINED:
        if name in by_name:
            return [(by_name[name], (0, 1, 2))]
    for module in block.modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            return [(module, (0, 1, 2))]
    raise ConfigError(
        f"the last block of the network of {who} ({type(block).__name__}) has no layers that make queries, keys and "
        "values under a known name, so no attention can be compared; set attention to 0"
    )


def as_tokens(states: Tensor) -> Tensor:
    """Return states as (B, T, D): feature maps (B, D, H, W) by their places, vectors (B, D) as one token."""
    if states.ndim == 2:
        return states[:, None]
    return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states
