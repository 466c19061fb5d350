"""Classifiers of timm by their names there, for any channels, classes and picture size; timm is an extra of ptft.

Weights come from a file or the hub by `init_from=`, as for any model; the names are timm's own.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.parts import Parts, belongs, feature_dim, replace_head
from ptft.model.spec import ModelSpec, image_shape
from ptft.types import DropRate


def timm_classifier(
    spec: ModelSpec,
    *,
    architecture: str,
    dropout: DropRate | None = None,
    stochastic_depth: DropRate | None = None,
) -> nn.Module:
    """Return a timm classifier with weights drawn as timm draws them.

    Args:
        spec: Shape of an image and number of classes.
        architecture: Timm's name of it, such as `resnet18d` or `vit_small_patch16_224`.
        dropout: Timm's `drop_rate`; null: what the architecture takes.
        stochastic_depth: Timm's `drop_path_rate`; null: what the architecture takes.

    Raises:
        ConfigError: Timm is not installed, has no such architecture, or cannot build it so; or its parts are not told.
    """
    timm = _timm()
    channels, height, width = image_shape(spec)
    settings: dict[str, Any] = {"in_chans": channels, "num_classes": max(spec.num_classes, 1)}
    if not timm.is_model(architecture):
        near = timm.list_models(f"*{architecture}*")[:5] or timm.list_models(f"{architecture[:5]}*")[:5]
        meant = f"; timm has {', '.join(near)} and others" if near else ""
        raise ConfigError(f"model.architecture={architecture}: timm has no such model{meant}")
    known = timm.models.get_pretrained_cfg(architecture)
    if known is not None and known.fixed_input_size:
        settings["img_size"] = (height, width)
    for key, value in (("drop_rate", dropout), ("drop_path_rate", stochastic_depth)):
        if value is not None:
            settings[key] = value
    try:
        network: Any = timm.create_model(architecture, pretrained=False, **settings)
    except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"model.architecture={architecture}: timm cannot build it for {channels}x{height}x{width} ({reason})"
        ) from None
    parts = _parts(network, architecture)
    network.parts = lambda: parts  # a plain function: a copied network keeps it
    network.adapt_tensors = partial(_adapted, network)
    made: nn.Module = network
    if not spec.num_classes:  # data without labels; timm would leave the head out
        replace_head(made, nn.Linear(feature_dim(made), 0))
    return made


def _timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError:
        raise ConfigError('model=vision/timm needs timm, which is not installed: pip install "ptft[timm]"') from None
    return timm


def _adapted(network: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights by today's names and with positions of this picture size, as timm itself brings them there."""
    bring = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return tensors if bring is None else dict(bring(dict(tensors), network))


def _parts(network: Any, architecture: str) -> Parts:
    """Return the parts by timm's own groups: the stem first, then a group a block; the head is the classifier."""
    from timm.models._manipulate import group_with_matcher

    classifier = network.get_classifier()
    names = list(network.state_dict())
    head = next((name for name, module in network.named_modules() if module is classifier), "")
    if not isinstance(classifier, nn.Linear) or not head or not hasattr(network, "group_matcher"):
        raise ConfigError(
            f"model.architecture={architecture}: it has no single linear head or tells no groups of layers; "
            "choose another architecture"
        )
    matcher = network.group_matcher(coarse=False)
    numbers = group_with_matcher(((name, name) for name in names), matcher, reverse=True)
    groups: dict[int, list[str]] = {}
    for name in names:
        if not belongs(name, head):
            groups.setdefault(int(numbers[name]), []).append(name)
    ordered = [groups[number] for number in sorted(groups)]
    if numbers[f"{head}.weight"] in groups and len(ordered) > 1:  # what timm groups with the head is not the head
        ordered[-2:] = [ordered[-2] + ordered[-1]]
    prefixes = [tuple(_shortened(network, "", set(group))) for group in ordered]
    has_stem = isinstance(matcher, dict) and "stem" in matcher and 0 in groups and len(prefixes) > 1
    stem, blocks = (prefixes[0], prefixes[1:]) if has_stem else ((), prefixes)
    return Parts(stem=stem, blocks=tuple(blocks), head=head)


def _shortened(module: nn.Module, path: str, names: set[str]) -> Iterator[str]:
    """Yield the fewest modules and tensors, in order, that hold these names and no others."""
    before = f"{path}." if path else ""
    own = [before + name for name in module.state_dict()]
    if path and own and names.issuperset(own):
        yield path
        return
    for name in (name for name in own if "." not in name.removeprefix(before) and name in names):
        yield name
    for name, child in module.named_children():
        yield from _shortened(child, before + name, names)
