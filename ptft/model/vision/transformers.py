"""Image classifiers of the transformers library, from a local folder or a model of the hub by its name.

Only configs and safetensors are read, never code or pickles. Channels, classes and picture size follow the data; the
weights are loaded as any others are, so what fits and what does not is told.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model import library
from ptft.model.discovery import discover_parts
from ptft.model.parts import Parts, feature_dim, replace_head
from ptft.model.spec import ModelSpec, image_shape
from ptft.model.vision.vit import resized_positions
from ptft.runtime.hub import model_folder

POSITIONS = "embeddings.position_embeddings"
"""How the learned positions of ViT-like models end: (1, special tokens + patches, width)."""


class TransformersClassifier(nn.Module):
    """A classifier of transformers as a network from images to logits."""

    def __init__(self, spec: ModelSpec, *, name: str, pretrained: bool = True) -> None:
        """Build the network from its config, with weights as the library draws them.

        Args:
            spec: Shape of an image and number of classes.
            name: A folder as `./folder` or `/folder`, or `org/name` (`org/name@revision`) of the hub, for which the
                cache is looked at first.
            pretrained: Start from its weights unless `init_from=` names others; false: start from the config alone.

        Raises:
            ConfigError: It is no image classifier that fits the data, or its parts cannot be told.
            FetchError: It is not here and cannot be fetched.
        """
        super().__init__()
        folder = model_folder(name, pretrained=pretrained)
        if not (folder / "config.json").is_file():
            raise ConfigError(f"model.name={name}: there is no {folder}/config.json; expected a folder of transformers")
        self.pretrained = folder if pretrained else None
        shape = image_shape(spec)
        num_classes = max(spec.num_classes, 1)
        self.model = _build(name, _fitted(name, _read_config(name, folder), shape, num_classes))
        _try(name, self.model, shape)
        self._parts = discover_parts(self, num_classes)
        if not spec.num_classes:  # data without labels; the library would leave the head out
            replace_head(self, nn.Linear(feature_dim(self), 0))

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (B, C, H, W) to logits (B, num_classes)."""
        logits: Tensor = self.model(pixel_values=image).logits
        return logits

    def parts(self) -> Parts:
        """Return the parts as found in the network."""
        return self._parts

    def adapt_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights with positions of another grid resized; both grids must be square.

        Args:
            tensors: Weights by this network's names; not changed.
        """
        fitted = dict(tensors)
        for name, own in self.state_dict().items():
            given = tensors.get(name)
            if not name.endswith(POSITIONS) or given is None or given.shape == own.shape:
                continue
            side = self.model.config.image_size, self.model.config.patch_size
            rows, columns = (int(pixels) // int(patch) for pixels, patch in zip(*map(_pair, side), strict=True))
            special = own.shape[1] - rows * columns
            if special > 0 and given.shape[2] == own.shape[2]:
                resized = resized_positions(given[:, special - 1 :], (rows, columns))
                fitted[name] = torch.cat([given[:, : special - 1], resized], dim=1)
        return fitted

    def read_pretrained(self, folder: Path) -> dict[str, Tensor]:
        """Return the weights of a folder by today's names, as the library itself reads them.

        Raises:
            CheckpointError: The folder holds no safetensors of this architecture.
        """
        return library.read_weights(self.model, folder)

    def write_pretrained(self, folder: Path, labels: Sequence[str]) -> None:
        """Write what `AutoModelForImageClassification.from_pretrained(folder)` reads."""
        library.write_weights(self.model, folder, labels)


def _read_config(name: str, folder: Path) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as CLASSES

    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the library raises what its parts raise
        raise ConfigError(
            f"model.name={name}: transformers cannot read {folder}/config.json ({library.first_line(error)})"
        ) from None
    made = CLASSES.get(config.model_type)
    if made is None:
        raise ConfigError(
            f"model.name={name}: `{config.model_type}` is no image classifier of transformers; "
            f"it has {', '.join(CLASSES)}"
        )
    # Of several classes of an architecture the first has one plain head.
    config.architectures = [made if isinstance(made, str) else made[0]]
    return config


def _fitted(name: str, config: Any, shape: tuple[int, int, int], num_classes: int) -> Any:
    """Set channels, classes and picture size in a config, where it knows them."""
    channels, height, width = shape
    if channels != 3 and not hasattr(config, "num_channels"):
        raise ConfigError(
            f"model.name={name}: `{config.model_type}` takes three channels, the data have {channels}; "
            "set data.channels=3 or choose another model"
        )
    size = getattr(config, "image_size", None)
    kind: Any = tuple if isinstance(size, int) else type(size)
    sides: Any = height if isinstance(size, int) and height == width else kind((height, width)) if size else None
    try:
        config.num_labels = num_classes
        for key, value in (("num_channels", channels), ("image_size", sides)):
            if hasattr(config, key):
                setattr(config, key, value)
    except Exception as error:  # configs check themselves, each in its own way
        raise ConfigError(
            f"model.name={name}: its config takes no pictures of {shape} ({library.first_line(error)})"
        ) from None
    return config


def _build(name: str, config: Any) -> Any:
    from transformers import AutoModelForImageClassification

    maker: Any = AutoModelForImageClassification
    try:
        network = maker.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # the library raises what its parts raise
        raise ConfigError(
            f"model.name={name}: transformers cannot build {config.architectures[0]} ({library.first_line(error)})"
        ) from None
    if network.main_input_name != "pixel_values":
        raise ConfigError(f"model.name={name}: {type(network).__name__} takes no pixels but {network.main_input_name}")
    return network


def _try(name: str, network: nn.Module, shape: tuple[int, int, int]) -> None:
    """Run one black picture through the network, as its library checks sizes only then.

    Raises:
        ConfigError: It does not take pictures of this size.
    """
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(pixel_values=torch.zeros(1, *shape))
    except (RuntimeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ConfigError(
            f"model.name={name}: {type(network).__name__} does not take pictures of {shape[1]}x{shape[2]} "
            f"({library.first_line(error)}); take larger ones or another model"
        ) from None
    network.train(training)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
