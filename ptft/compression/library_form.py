"""A compressed network of transformers in the form that the library's own classes load, with the same logits.

A config tells how many layers there are and how wide a feed-forward is, but not that a layer has fewer heads, a table
fewer rows than tokens, or a matrix a lower rank. Those come back at full size: heads of zeros, a row for every token,
products.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import nn

from ptft.compression.attention_layers import ARCHITECTURES, config_of, find_groups, grow
from ptft.compression.structure import replace_module
from ptft.compression.vocabulary import TrimmedEmbedding, full_embedding

Network = TypeVar("Network", bound=nn.Module)


def library_network(network: Network) -> Network:
    """Return a copy of a network of transformers that `AutoModelFor...from_pretrained` loads once it is written.

    Args:
        network: A `TextNetwork`, or a `TransformersClassifier` of images; not changed. One that is not compressed comes
            back as it is.
    """
    whole = copy.deepcopy(network)
    config = config_of(whole)
    assert config is not None, "only networks of transformers have a form of its own"
    for name, module in list(whole.named_modules()):
        if isinstance(module, nn.Sequential) and is_pair(module):
            replace_module(whole, name, product(module))
        elif isinstance(module, TrimmedEmbedding):
            replace_module(whole, name, full_embedding(module, _padding(module, config.pad_token_id)))
    if config.model_type in ARCHITECTURES:
        for group in find_groups(whole):
            if group.kind == "heads" and group.count < config.num_attention_heads:
                grow(whole, group, config.num_attention_heads)
    return whole


def is_pair(module: nn.Sequential) -> bool:
    """Tell whether a module is two layers in the place of one, as `split_layer` makes them."""
    if len(module) != 2:
        return False
    first, second = module
    if isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d):
        return first.bias is None and first.groups == second.groups == 1 and second.kernel_size == (1, 1)
    return isinstance(first, nn.Linear) and isinstance(second, nn.Linear) and first.bias is None


def product(pair: nn.Sequential) -> nn.Linear | nn.Conv2d:
    """Return the one layer that two in a row are, multiplied in float64."""
    layers: Any = tuple(pair)
    first, second = layers
    layer: nn.Linear | nn.Conv2d
    if isinstance(first, nn.Conv2d):
        names = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        settings: Any = {name: getattr(first, name) for name in names}
        layer = nn.Conv2d(first.in_channels, second.out_channels, bias=second.bias is not None, **settings)
    else:
        layer = nn.Linear(first.in_features, second.out_features, bias=second.bias is not None)
    layer.to(device=first.weight.device, dtype=first.weight.dtype)
    with torch.no_grad():
        weight = second.weight.double().flatten(1) @ first.weight.double().flatten(1)
        layer.weight.copy_(weight.view_as(layer.weight))
        if layer.bias is not None:
            layer.bias.copy_(second.bias)
    return layer.train(pair.training)


def _padding(trimmed: TrimmedEmbedding, number: int | None) -> int | None:
    """Return the number of the padding token where the smaller table knew one."""
    return None if trimmed.padding_idx is None else number
