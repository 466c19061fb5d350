"""What a model must know before it can be built: the shape of an example, the classes or the vocabulary, its output.

`data/data_module.py`'s DataSpec fits this; models lean on no more than this, so that they need not import the data.

What a network gives is one of these words, which the task chooses (`Task.output`):
    classes       logits (B, classes), one row an example; with the target `value` one number: (B, 1)
    tags          logits (B, T, classes), one row a token
    span          logits (B, T, 2): where an answer begins, and where it ends
    masked        logits (B, T, vocabulary), each token from those around it
    causal        logits (B, T, vocabulary), the next token from those before it
    pretraining   logits (B, T, vocabulary) as `masked`, and (B, 2): does the second segment follow the first
"""

from collections.abc import Mapping
from typing import Protocol

from ptft.errors import ConfigError


class ModelSpec(Protocol):
    """The facts of the data that decide a model's first and last layer."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (channels, height, width) for images, (tokens at most,) for text."""
        ...

    @property
    def num_classes(self) -> int:
        """The number of classes: the width of the logits."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        ...

    @property
    def target(self) -> str:
        """What the labels are: class, labels, value, tags, span or tokens."""
        ...

    @property
    def output(self) -> str:
        """What the network must give."""
        ...

    @property
    def vocab_size(self) -> int:
        """Token numbers lie in [0, vocab_size); 0: the data are no text."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Token numbers by role, those there are: pad, unk, cls, sep, mask, bos, eos."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that the network takes, in order."""
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


def text_length(spec: ModelSpec) -> int:
    """Return how many tokens an example has at most.

    Raises:
        ConfigError: The examples are no texts.
    """
    if len(spec.shape) != 1 or not spec.vocab_size:
        raise ConfigError(
            f"a text model expects examples of shape (tokens,) and a vocabulary, but the data have {spec.shape}; "
            "choose another model= or data="
        )
    return spec.shape[0]


def num_outputs(spec: ModelSpec) -> int:
    """Return the width of the logits where they are classes, or one number (`target` is value).

    Raises:
        ConfigError: The data have no classes.
    """
    if spec.target == "value":
        return 1
    if not spec.num_classes:
        raise ConfigError("the data have no labels, so there are no classes to tell apart; choose another task=")
    return spec.num_classes
