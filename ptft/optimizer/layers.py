"""Learning rates by depth: layer-wise decay from the head down, and a multiplier for the head.

    scale of part i  =  layer_decay ** (L - i)  *  (head_multiplier if i == L else 1)

Part 0 is the stem, parts 1 to L - 1 are the blocks, part L is the head. The rule is ELECTRA's and BEiT's (arXiv
2106.08254, appendix); what a pre-trained network learnt in its first layers is kept by moving them least.
"""

from collections.abc import Iterable, Mapping

from torch import nn

from ptft.errors import ConfigError
from ptft.model.parts import HasParts, Parts, belongs


def lr_scales(
    network: nn.Module, names: Iterable[str], *, prefix: str, layer_decay: float, head_multiplier: float
) -> Mapping[str, float]:
    """Return the factor on the learning rate of each named parameter; an empty mapping where all are 1.

    Args:
        network: The network of a phase, which tells its parts.
        names: Full names of the parameters, as the task has them.
        prefix: What the task puts before the network's own names: `model.`.
        layer_decay: Factor from one part to the one below it; 1 is off.
        head_multiplier: Factor on the head; 1 is off.

    Raises:
        ConfigError: The network does not tell its parts, which a factor other than 1 needs.
    """
    if layer_decay == 1.0 and head_multiplier == 1.0:
        return {}
    if not isinstance(network, HasParts):
        raise ConfigError(
            f"optimizer.layer_decay and optimizer.head_multiplier need a model that tells its stem, blocks and head; "
            f"{type(network).__name__} has no parts(): leave both at 1.0"
        )
    parts = network.parts()
    top = len(parts.blocks) + 1
    scales = {}
    for name in names:
        depth = _depth(name.removeprefix(prefix), parts, top) if name.startswith(prefix) else top
        scales[name] = layer_decay ** (top - depth) * (head_multiplier if depth == top else 1.0)
    return scales


def _depth(name: str, parts: Parts, top: int) -> int:
    """Return the number of the part a parameter is in: 0 for the stem, `top` for the head.

    What a task puts around the network (the projector of a contrastive task) is as new as the head, and counts as it.
    """
    layers = [parts.stem, *parts.blocks]
    found = (depth for depth, prefixes in enumerate(layers) if any(belongs(name, prefix) for prefix in prefixes))
    return top if belongs(name, parts.head) else next(found, top)
