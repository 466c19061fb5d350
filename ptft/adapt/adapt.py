"""The contract of an adaptation: which parameters of a model a fine-tuning run trains.

A frozen parameter has `requires_grad=False`. A frozen module carries `frozen = True`: it stays in evaluation mode while
the rest trains, so that its batch-norm statistics stand still and its dropout is off.

    new run     load weights, structure, apply, train with hooks, load the best checkpoint, write, merge, write model/
    resumed     structure, apply, load the checkpoint, train with hooks ...
    evaluation  structure, load a checkpoint, merge
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch import nn

from ptft.errors import ConfigError
from ptft.model.parts import HasParts, Parts
from ptft.runtime.duration import Clock
from ptft.runtime.hook import Hook

FROZEN = "frozen"
"""The attribute that marks a module; the task keeps modules that carry it in evaluation mode."""


class Adapt(ABC):
    """Prepares a model for fine-tuning; built from `adapt=`, it keeps no state."""

    def structure(self, model: nn.Module) -> None:  # noqa: B027 - most adaptations add no parameters
        """Add the parameters that a checkpoint of such a run holds, in place; what the model computes is unchanged.

        Raises:
            ConfigError: The settings do not fit the model.
        """

    @abstractmethod
    def apply(self, model: nn.Module) -> None:
        """Freeze what is not to be trained, in place.

        Raises:
            ConfigError: The settings do not fit the model.
        """

    def hooks(self, model: nn.Module, clock: Clock) -> Sequence[Hook]:
        """Return what changes while training.

        Args:
            model: The model, adapted.
            clock: What turns durations into steps, with the length of the training.

        Raises:
            ConfigError: The settings do not fit the model.
        """
        return ()

    def write(self, model: nn.Module, folder: Path, base: str) -> str:
        """Write what the training added to the model into a folder, before it is merged; most have nothing to write.

        Args:
            model: The model, trained.
            folder: Where; made if need be.
            base: What the weights it started from are called; may be empty.

        Returns:
            A line for the console, or nothing.
        """
        return ""

    def merge(self, model: nn.Module) -> None:  # noqa: B027 - most adaptations have added nothing
        """Take back what `structure` did: the model computes the same with its own parameters alone."""


def freeze(model: nn.Module, chosen: Callable[[str], bool]) -> None:
    """Freeze the parameters and modules whose full name is `chosen`, and each module left with nothing to train.

    Raises:
        ConfigError: No parameter would be left to train; the model is then unchanged.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    frozen = {id(parameter) for name, parameter in parameters.items() if chosen(name)}
    if all(id(parameter) in frozen or not parameter.requires_grad for parameter in parameters.values()):
        raise ConfigError(
            f"all {len(parameters)} parameter tensors of {type(model).__name__} would be frozen, so nothing is left "
            "to train; freeze less, or use `ptft evaluate` to only measure the model"
        )
    for parameter in model.parameters():
        if id(parameter) in frozen:
            parameter.requires_grad_(False)
    for name, module in model.named_modules():
        own = list(module.parameters())
        idle = bool(own) and not any(parameter.requires_grad for parameter in own)
        if idle or (name and chosen(name)):
            setattr(module, FROZEN, True)
            module.eval()


def thaw(model: nn.Module, parameters: Iterable[nn.Parameter]) -> None:
    """Undo `freeze`: these parameters are trained, every module follows the mode of the model."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    for module in model.modules():
        if vars(module).pop(FROZEN, False):
            module.train(model.training)


def parts_for(model: nn.Module, option: str) -> Parts:
    """Return the parts of a model.

    Raises:
        ConfigError: The model does not tell its parts, which `adapt=<option>` needs.
    """
    if not isinstance(model, HasParts):
        raise ConfigError(
            f"adapt={option} needs a model that tells its stem, blocks and head; {type(model).__name__} has no "
            "parts(); use adapt=full, or adapt=freeze with adapt.blocks=0 and adapt.patterns"
        )
    return model.parts()


def describe(model: nn.Module) -> str:
    """Return one line such as `trainable 1,290 of 84,106 parameters`."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    trainable = sum(size for size, trained in sizes if trained)
    return f"trainable {trainable:,} of {sum(size for size, _ in sizes):,} parameters"
