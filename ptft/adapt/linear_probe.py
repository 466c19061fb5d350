"""Linear probe: only the head is trained, on features that stand still (batch-norm statistics and dropout too)."""

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
        head = parts_for(model, "linear_probe").head
        # Modules around the head (`classifier` around `classifier.3`) must go on training with it.
        freeze(model, lambda name: not belongs(name, head) and not belongs(head, name))
