"""Gradual unfreezing: the head first, then block after block from the top, the stem last (ULMFiT, arXiv 1801.06146).

Every parameter is in the optimizer from the start. While it is frozen it has no gradient, and the optimizers pass it
over: neither weight decay nor momentum moves it. What is frozen is a pure function of the number of steps done.
"""

import math
from typing import Literal

from torch import nn

from ptft.adapt.adapt import Adapt, freeze, parts_for, thaw
from ptft.errors import ConfigError
from ptft.model.parts import belongs
from ptft.runtime.duration import Clock, Duration
from ptft.types import DurationText, NonNegativeInt

AUTO_SHARE = 0.5
"""With `every: auto` all is being trained from this share of the training on."""


class Gradual(Adapt):
    """Train the head, and one block more from the top every so often."""

    def __init__(self, *, every: DurationText | Literal["auto"] = "auto", blocks: NonNegativeInt = 0) -> None:
        """Choose how fast.

        Args:
            every: Time between two unfreezings; auto: evenly, so that the second half of the training trains all.
            blocks: Blocks, counted from the top, that are trained from the start, with the head.

        Raises:
            ConfigError: The time is nothing.
        """
        if every != "auto" and Duration.parse(every, "adapt.every").amount <= 0:
            raise ConfigError(f"adapt.every={every} takes more than nothing; adapt=full trains all from the start")
        self.every = every
        self.blocks = blocks

    def apply(self, model: nn.Module) -> None:
        """Freeze nothing yet, so that the optimizers take every parameter; the hook does as training starts."""
        layers = len(parts_for(model, "gradual").blocks)
        if self.blocks > layers:
            raise ConfigError(
                f"adapt.blocks={self.blocks}, but {type(model).__name__} has {layers} blocks; use 0 to {layers}"
            )

    def hooks(self, model: nn.Module, clock: Clock) -> tuple["Unfreezing", ...]:
        """Return the schedule of unfreezing.

        Raises:
            ConfigError: The model does not tell its parts, or epochs are asked for of data without any.
        """
        parts = parts_for(model, "gradual")
        layers = [*reversed(parts.blocks), *([parts.stem] if parts.stem else [])][self.blocks :]
        if self.every == "auto":
            period = AUTO_SHARE * (clock.max_steps or 0) / max(len(layers), 1)
        else:
            period = Duration.parse(self.every, "adapt.every").period(clock)
        return (Unfreezing(model, tuple(layers), period, clock.max_steps or 0),)


class Unfreezing:
    """Unfreezes layer `i` (from 0) once (i + 1) periods are over.

    Args:
        model: The model that trains.
        layers: Prefixes of each layer that starts frozen, in the order they are unfrozen.
        period: Steps between two unfreezings; may be a broken number.
        max_steps: Length of the training in steps.
    """

    def __init__(self, model: nn.Module, layers: tuple[tuple[str, ...], ...], period: float, max_steps: int) -> None:
        self.model = model
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.layers = layers
        # Rounding to 1e-9 keeps a period of 0.1 * 3 steps from ending one step late.
        self.due = [math.ceil(round((number + 1) * period, 9)) for number in range(len(layers))]
        self.max_steps = max_steps

    def next_due(self, step: int) -> float:
        """Return the number of steps done at which the next layer is unfrozen; infinity after the last one."""
        return next((due for due in self.due if due > step), math.inf)

    def apply(self, step: int) -> None:
        """Freeze the layers that are not due yet, and nothing else."""
        frozen = [prefix for prefixes in self.layers[self.num_unfrozen(step) :] for prefix in prefixes]
        thaw(self.model, self.trained)
        if frozen:
            freeze(self.model, lambda name: any(belongs(name, prefix) for prefix in frozen))

    def num_unfrozen(self, step: int) -> int:
        """Return how many of the layers are trained once `step` steps are done."""
        return sum(due <= step for due in self.due)

    def describe(self) -> str:
        """Return when what is unfrozen, and how much never is."""
        reached = [due for due in self.due if due < self.max_steps]
        never = len(self.due) - len(reached)
        if not reached:
            return f"gradual unfreezing: {never} of {len(self.due)} layers stay frozen to the end"
        steps = f"the first of {len(self.due)} layers at step {reached[0]}, the last at {reached[-1]}"
        return f"gradual unfreezing: {steps}" + (f"; {never} stay frozen to the end" if never else "")
