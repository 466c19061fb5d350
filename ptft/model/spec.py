"""What a model must know of the data before it can be built: the shape of one example and the number of classes.

`data/data_module.py`'s DataSpec fits this; models lean on no more than this, so that they need not import the data.
"""

from typing import Protocol

from ptft.errors import ConfigError


class ModelSpec(Protocol):
    """The facts of the data that decide a model's first and last layer."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (channels, height, width) for images."""
        ...

    @property
    def num_classes(self) -> int:
        """The number of classes: the width of the logits."""
        ...


def image_shape(spec: ModelSpec) -> tuple[int, int, int]:
    """Return (channels, height, width) of one image.

    Raises:
        ConfigError: The examples are not images.
    """
    if len(spec.shape) != 3:
        raise ConfigError(
            f"a vision model expects examples of shape (channels, height, width), but the data have {spec.shape}; "
            "choose another model= or data="
        )
    channels, height, width = spec.shape
    return channels, height, width
