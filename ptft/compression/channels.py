"""Channels that can only go together: those a convolution writes, a norm scales, and other layers read.

Found by torch-pruning, which follows autograd's graph (Fang and others, arXiv 2301.12900).
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ptft.model.parts import HasParts, parts_of


@dataclass(frozen=True)
class Member:
    """A layer that has channels of a group.

    Attributes:
        name: Name of the module.
        module: A convolution, a linear layer or a norm.
        side: Whether it reads the channels, or writes (or scales) them; a depthwise convolution writes.
        channels: (n,) int64, places of the layer's own channels on that side.
        owners: (n,) int64, the channel of the group that each belongs to: flattened pictures have many a channel.
    """

    name: str
    module: nn.Module
    side: Literal["reads", "writes"]
    channels: Tensor
    owners: Tensor


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of several layers that can only be removed together.

    Attributes:
        name: Name of the layer that writes them.
        size: How many there are.
        blocks: Blocks of neighbouring channels, of which each loses as many (groups of a norm or a convolution).
        members: The layers that have them.
        traced: The group as torch-pruning knows it.
    """

    name: str
    size: int
    blocks: int
    members: tuple[Member, ...]
    traced: Any

    def remove(self, channels: Sequence[int]) -> None:
        """Remove some channels from all members, in place."""
        self.traced.prune(sorted(channels))


@contextlib.contextmanager
def all_trained(network: nn.Module) -> Iterator[None]:
    """Let gradients flow to all parameters, in evaluation mode; frozen ones are frozen again afterwards."""
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    network.eval()
    network.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        parameters = dict(network.named_parameters())
        for name in frozen:
            parameters[name].requires_grad_(False)


def channel_groups(network: nn.Module, inputs: Sequence[Tensor]) -> list[ChannelGroup]:
    """Return the groups of channels that can be removed; neither the network's inputs nor its outputs are among them.

    To be called and used within `all_trained`; all groups stand for one state of the network, and channels of several
    can be removed one group after the other.

    Args:
        network: The network.
        inputs: Example arguments.
    """
    import torch_pruning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters outside modules, which it handles
        graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=tuple(inputs), verbose=False)
        kept = list(_outputs(network).modules())
        traced = list(graph.get_all_groups(ignored_layers=kept, root_module_types=(nn.modules.conv._ConvNd, nn.Linear)))
    names = {module: name for name, module in network.named_modules()}
    return [_group(graph, group, names) for group in traced]


def depthwise(module: nn.Module) -> bool:
    """Tell whether a module is a convolution in which each channel reads itself alone."""
    return isinstance(module, nn.modules.conv._ConvNd) and module.groups == module.out_channels > 1


def _outputs(network: nn.Module) -> nn.Module:
    """Return the module that writes the outputs: the head, or the last linear layer or convolution."""
    if isinstance(network, HasParts):
        return network.get_submodule(parts_of(network).head)
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    return layers[-1]


def _group(graph: Any, traced: Any, names: dict[nn.Module, str]) -> ChannelGroup:
    members: dict[tuple[str, str], Member] = {}
    blocks = 1
    for item in traced.items:
        module, handler = item.dep.target.module, item.dep.handler
        if not isinstance(module, nn.Module) or module not in names:
            continue  # a sum, a concatenation, a parameter of no layer
        writes = graph.is_out_channel_pruning_fn(handler)
        if not depthwise(module):
            pruner = graph.get_pruner_of_module(module)
            asked = pruner.get_out_channel_groups if writes else pruner.get_in_channel_groups
            blocks = max(blocks, int(asked(module)))
        side: Literal["reads", "writes"] = "writes" if writes else "reads"
        member = Member(names[module], module, side, torch.tensor(item.idxs), torch.tensor(item.root_idxs))
        members.setdefault((member.name, side), member)
    root = traced.items[0].dep.target.module
    return ChannelGroup(names[root], len(traced.items[0].idxs), blocks, tuple(members.values()), traced)
