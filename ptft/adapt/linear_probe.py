"""Linear probe: only the head is trained, with the neck before it, on features that stand still.

Batch-norm statistics and dropout stand still too.
"""

from torch import nn

from ptft.adapt.adapt import Adapt, freeze, parts_for
from ptft.model.parts import belongs


class LinearProbe(Adapt):
    """Train the head alone; measures how good the features of a pre-trained model are."""

    def apply(self, model: nn.Module) -> None:
        """Freeze all but the head.

        Raises:
            ConfigError: The model does not tell its head.
        """
        top = parts_for(model, "linear_probe").top
        # Modules around the head (`classifier` around `classifier.3`) must go on training with it.
        freeze(model, lambda name: not any(belongs(name, unit) or belongs(unit, name) for unit in top))
