"""A multi-layer perceptron on the pixels: the plainest network, and the reference for exactness and speed.

Legend: B batch, C channels, H height, W width.
"""

from typing import Literal

from torch import Tensor, nn

from ptft.model.parts import Parts
from ptft.model.spec import ModelSpec, image_shape
from ptft.model.vision.layers import initialise
from ptft.types import DropRate, PositiveInt


class MLP(nn.Module):
    """Fully connected layers with ReLU between them; on digits the default is 64-64-10 (4,810 parameters)."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        hidden: tuple[PositiveInt, ...] = (64,),
        norm: Literal["batch", "none"] = "none",
        dropout: DropRate = 0.0,
    ) -> None:
        """Build the network; weights as in `layers.initialise`.

        Args:
            spec: Shape of an image and number of classes.
            hidden: Widths of the hidden layers; empty leaves a linear classifier of the pixels.
            norm: What follows each hidden linear layer: `batch` or `none`.
            dropout: Share of features dropped after each hidden layer.

        Raises:
            ConfigError: The examples are not images.
        """
        super().__init__()
        channels, height, width = image_shape(spec)
        features = channels * height * width
        self.blocks = nn.Sequential()
        for out_features in hidden:
            # A bias before a normalisation would do nothing.
            layers: list[nn.Module] = [nn.Linear(features, out_features, bias=norm == "none")]
            if norm == "batch":
                layers.append(nn.BatchNorm1d(out_features))
            layers.append(nn.ReLU(inplace=True))
            if dropout:
                layers.append(nn.Dropout(dropout))
            self.blocks.append(nn.Sequential(*layers))
            features = out_features
        self.head = nn.Linear(features, spec.num_classes)
        initialise(self, self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (B, C, H, W) to logits (B, num_classes)."""
        logits: Tensor = self.head(self.blocks(image.flatten(1)))
        return logits

    def parts(self) -> Parts:
        """Return each hidden layer as a block; there is no stem."""
        return Parts(stem=(), blocks=tuple((f"blocks.{i}",) for i in range(len(self.blocks))), head="head")
