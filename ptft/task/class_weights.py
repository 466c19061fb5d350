"""What an example of each class counts in the loss."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ptft.data.data_module import DataSpec
from ptft.data.listing import listed
from ptft.errors import ConfigError, DataError


def class_weights(wanted: Literal["balanced"] | Mapping[str, float] | None, spec: DataSpec) -> Tensor | None:
    """Return a weight for each class, (C,) float32; None: all count the same.

    Args:
        wanted: `balanced`: N / (C * n) for a class with n of the N training examples, so that all classes weigh the
            same and an example 1 on average; or weights by name, 1 for classes that are not named.
        spec: The classes and their training examples.

    Raises:
        ConfigError: A name is no class, or a weight is negative.
        DataError: Balanced weights are wanted, but the data do not tell how many examples each class has.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        counts = torch.tensor(spec.class_counts, dtype=torch.float64)
        if len(counts) != spec.num_classes:
            raise DataError(
                "task.class_weights=balanced: these data do not tell how many examples each class has; "
                "give the weights by name, as task.class_weights={spam: 2.0}"
            )
        present = counts > 0
        weights = counts.sum() / (present.sum() * counts.clamp(min=1))
        return torch.where(present, weights, 1.0).float()
    assert not isinstance(wanted, str)
    wanted = {str(name): weight for name, weight in wanted.items()}  # YAML reads a class `3` as a number
    if unknown := [name for name in wanted if name not in spec.classes]:
        raise ConfigError(f"task.class_weights: there is no class {unknown[0]}; the data have {listed(spec.classes)}")
    if negative := [name for name, weight in wanted.items() if weight < 0]:
        raise ConfigError(f"task.class_weights.{negative[0]} takes a number >= 0, found {wanted[negative[0]]}")
    return torch.tensor([wanted.get(name, 1.0) for name in spec.classes])
