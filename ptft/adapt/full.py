"""Full fine-tuning: every parameter is trained."""

from torch import nn

from ptft.adapt.adapt import Adapt


class Full(Adapt):
    """Train every parameter."""

    def apply(self, model: nn.Module) -> None:
        """Leave the model as it is."""
