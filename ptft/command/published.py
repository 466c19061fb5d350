"""What torchvision publishes: weights by their full name, and what is known of a file by its name."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from ptft.errors import ConfigError

DIGEST = re.compile(r"-([0-9a-f]{8,64})\.pth$")
"""The first digits of the SHA-256 in the name of a published file."""


def find_published(name: str) -> Any:
    """Return torchvision's entry of weights by its full name, such as `ResNet18_Weights.IMAGENET1K_V1`.

    Raises:
        ConfigError: There is no such entry; the message tells the nearest names.
    """
    from torchvision.models import get_weight

    try:
        return get_weight(name)
    except (ValueError, KeyError):
        known = {str(entry).lower(): str(entry) for entry in _published()}
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        meant = f"; did you mean {' or '.join(known[word] for word in near)}?" if near else ""
        raise ConfigError(f"init_from=torchvision:{name}: torchvision publishes no such weights{meant}") from None


def published_as(file_name: str) -> Any | None:
    """Return torchvision's entry of the weights in a file of this name, or None; the digest in the name is unique."""
    if DIGEST.search(file_name) is None:
        return None
    return next((entry for entry in _published() if entry.url.rpartition("/")[2] == file_name), None)


def _published() -> Iterator[Any]:
    """Yield every entry of weights of torchvision's image classifiers."""
    from torchvision import models

    for name in models.list_models(module=models):
        yield from models.get_model_weights(name)
