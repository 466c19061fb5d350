"""Parts: every model tells its stem, its blocks and its head in order.

Freezing, gradual unfreezing, layer-wise learning rates, head replacement and partial loading are written once, on this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True)
class Parts:
    """The parts of a model in the order data flow through them, as prefixes of parameter names.

    Attributes:
        stem: Prefixes of what comes before the first block.
        blocks: Prefixes of each block, first to last.
        head: The module that maps features to outputs, replaced when classes change.
        neck: Prefixes of what stands between the last block and the head and belongs to the head's work (BERT's
            pooler): trained with it, and begun anew where weights lack it.
        classes: Whether the outputs are the classes of the data, so that the head of other weights is taken only where
            theirs are the same; False: they are tokens or places, and a head of the same shape fits.
    """

    stem: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    head: str
    neck: tuple[str, ...] = ()
    classes: bool = True

    @property
    def top(self) -> tuple[str, ...]:
        """Prefixes of the neck and the head: what a new problem needs anew."""
        return (*self.neck, self.head)


@runtime_checkable
class HasParts(Protocol):
    """A model that tells its parts."""

    def parts(self) -> Parts:
        """Return the parts in order."""
        ...


@runtime_checkable
class AdaptsTensors(Protocol):
    """A model that reads other forms of its weights: of another grid of positions, or by older names."""

    def adapt_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return weights named and shaped as this model's own; `tensors` bear its prefixes and are not changed."""
        ...


@runtime_checkable
class ExplainsTensors(Protocol):
    """A model that knows why weights of another shape do not fit it."""

    def explain_tensors(self, tensors: Mapping[str, Tensor]) -> str:
        """Return why weights by this model's names, all of another shape, do not fit, and what to do; or nothing."""
        ...


def belongs(name: str, prefix: str) -> bool:
    """Tell whether a parameter or module called `name` lies under `prefix`, in whole dotted words."""
    return name == prefix or name.startswith(prefix + ".")


def parts_of(model: nn.Module) -> Parts:
    """Return the parts of a model.

    Raises:
        TypeError: The model has no `parts` method.
    """
    if not isinstance(model, HasParts):
        raise TypeError(f"{type(model).__name__} has no parts(); a ptft model returns its Parts(stem, blocks, head)")
    return model.parts()


def head_of(model: nn.Module) -> nn.Module:
    """Return the module that maps features to outputs."""
    return model.get_submodule(parts_of(model).head)


def feature_dim(model: nn.Module) -> int:
    """Return the width of the features that enter the head: `in_features` of its first linear layer."""
    for module in head_of(model).modules():
        if isinstance(module, nn.Linear):
            return module.in_features
    raise TypeError(f"the head of {type(model).__name__} holds no linear layer, so its width is unknown")


def replace_head(model: nn.Module, head: nn.Module) -> None:
    """Put another head in the place of the model's own; every other parameter keeps its name."""
    parent, _, name = parts_of(model).head.rpartition(".")
    setattr(model.get_submodule(parent), name, head)
