"""Torchvision's image classifiers under their own parameter names, for any channels, classes and picture size.

The network returned is torchvision's own, so that its weight files load and the weights of a run load there; beside
that it tells its parts. Left out: densely connected, Inception and RegNet families, and the vision transformer, which
`vit.py` builds on the same names.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlock
from torchvision.models.efficientnet import FusedMBConv, MBConv
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.ops import StochasticDepth

from ptft.errors import ConfigError
from ptft.model.parts import Parts, feature_dim, replace_head
from ptft.model.spec import ModelSpec, image_shape
from ptft.types import DropRate

Architecture = Literal[
    "alexnet", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "wide_resnet50_2", "wide_resnet101_2", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
    "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5",
    "efficientnet_b6", "efficientnet_b7", "efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l",
    "convnext_tiny", "convnext_small", "convnext_base", "convnext_large", "swin_t", "swin_s", "swin_b",
    "swin_v2_t", "swin_v2_s", "swin_v2_b",
]  # fmt: skip
"""The architectures this builder knows, by torchvision's names."""
LEAST_SIDE = {"alexnet": 63, "vgg": 32, "convnext": 32, "swin": 4}
"""Shortest side in pixels that leaves at least one position after the last pooling; the others take any side."""
_STAGED = (CNBlock, MBConv, FusedMBConv, SwinTransformerBlock)
"""What stands in the stages of networks that are built of stages: each one is a block."""


def torchvision_classifier(
    spec: ModelSpec,
    *,
    architecture: Architecture,
    dropout: DropRate | None = None,
    stochastic_depth: DropRate | None = None,
) -> nn.Module:
    """Return a torchvision classifier with weights drawn as torchvision draws them.

    Args:
        spec: Shape of an image and number of classes.
        architecture: Torchvision's name of it.
        dropout: Share of features dropped in the classifier; null: what torchvision takes.
        stochastic_depth: Share of examples for which the last residual block is left out, falling linearly to 0 at the
            first (arXiv 1603.09382); null: what torchvision takes.

    Raises:
        ConfigError: The pictures are too small for the architecture, it has no such thing as is set, or the examples
            are not images.
    """
    if architecture not in get_args(Architecture):
        raise ConfigError(f"model.architecture={architecture}: expected one of {', '.join(get_args(Architecture))}")
    channels, height, width = image_shape(spec)
    least = next((side for family, side in LEAST_SIDE.items() if architecture.startswith(family)), 1)
    if min(height, width) < least:
        raise ConfigError(
            f"{architecture} needs pictures of at least {least}x{least}, but the data have {height}x{width}; "
            "take larger pictures or another model="
        )
    network: Any = getattr(models, architecture)(weights=None, num_classes=max(spec.num_classes, 1))
    if channels != 3:
        _replace_first_convolution(network, channels)
    _set_rates(network, architecture, dropout, stochastic_depth)
    parts = _parts(network)
    network.parts = lambda: parts  # a plain function: a copied network keeps it
    made: nn.Module = network
    if not spec.num_classes:  # data without labels; some of torchvision's initialisations divide by it
        replace_head(made, nn.Linear(feature_dim(made), 0))
    return made


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    """Give the first convolution another number of input channels, its weights drawn as widely as torchvision drew."""
    name, old = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        _pair(old.kernel_size),
        stride=_pair(old.stride),
        padding=_pair(old.padding),
        bias=old.bias is not None,
    )
    nn.init.normal_(new.weight, std=old.weight.detach().std().item())
    if new.bias is not None and old.bias is not None:
        new.bias.data.copy_(old.bias.data)
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, new)


def _pair(value: Any) -> tuple[int, int]:
    first, second = value
    return int(first), int(second)


def _set_rates(network: nn.Module, architecture: str, dropout: float | None, stochastic_depth: float | None) -> None:
    """Set the rates that are given.

    Raises:
        ConfigError: The architecture drops nothing of that kind.
    """
    # Dropout within Swin's blocks is another matter, and 0 in torchvision's settings.
    drops = [m for name, m in network.named_modules() if isinstance(m, nn.Dropout) and name.startswith("classifier")]
    depths = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    for key, value, found in (("dropout", dropout, drops), ("stochastic_depth", stochastic_depth, depths)):
        if value is not None and not found:
            raise ConfigError(f"model.{key}={value}: {architecture} has none; leave model.{key} at null")
    if dropout is not None:
        for module in drops:
            module.p = dropout
    if stochastic_depth is not None:
        for number, module in enumerate(depths):
            module.p = stochastic_depth * number / max(len(depths) - 1, 1)


# --- Parts ------------------------------------------------------------------------------------------------------------


def _parts(network: nn.Module) -> Parts:
    """Return the parts; every parameter and buffer lies in exactly one."""
    split: Callable[[nn.Module], tuple[tuple[str, ...], list[tuple[str, ...]]]]
    if isinstance(network, models.ResNet):
        split = _residual
    elif isinstance(network, models.VGG | models.AlexNet):
        split = _convolutions
    else:
        split = _features
    stem, blocks = split(network)
    # What stands between the last block and the head: fully connected layers are blocks, norms belong to the last one.
    known = ("features", "layer", *stem)
    rest = [name for name, module in network.named_modules() if _has_own(module) and not name.startswith(known)]
    head = rest.pop()
    for name in rest:
        if isinstance(network.get_submodule(name), nn.Linear):
            blocks.append((name,))
        else:
            blocks[-1] = (*blocks[-1], name)
    return Parts(stem=stem, blocks=tuple(blocks), head=head)


def _has_own(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _residual(network: nn.Module) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return stem and blocks of a ResNet: each residual block is one."""
    layers = [f"layer{number}" for number in range(1, 5)]
    blocks: list[tuple[str, ...]] = []
    for layer in layers:
        blocks += [(f"{layer}.{name}",) for name, _ in network.get_submodule(layer).named_children()]
    return ("conv1", "bn1"), blocks


def _convolutions(network: nn.Module) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the blocks of a plain network, which has no stem: the convolutions up to each pooling are one."""
    blocks: list[tuple[str, ...]] = []
    names: list[str] = []
    for name, module in network.get_submodule("features").named_children():
        if isinstance(module, nn.MaxPool2d):
            blocks.append(tuple(names))
            names = []
        elif _has_own(module):
            names.append(f"features.{name}")
    return (), blocks


def _features(network: nn.Module) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return stem and blocks of a network whose `features` are a stem, then blocks or stages of blocks.

    What only halves the picture between two stages belongs to the block after it.
    """
    names = [name for name, _ in network.get_submodule("features").named_children()]
    blocks: list[tuple[str, ...]] = []
    waiting: tuple[str, ...] = ()
    for name in (f"features.{name}" for name in names[1:]):
        child = network.get_submodule(name)
        inner = [f"{name}.{number}" for number, block in child.named_children() if isinstance(block, _STAGED)]
        if inner:
            blocks += [(*waiting, inner[0]), *((block,) for block in inner[1:])]
            waiting = ()
        elif isinstance(network, models.ConvNeXt | models.SwinTransformer):
            waiting = (name,)
        else:
            blocks.append((name,))
    return (f"features.{names[0]}",), blocks
