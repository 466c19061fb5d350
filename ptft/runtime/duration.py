"""How long, how often, how late: one spelling and one type for every duration.

`10ep` is 10 passes over the training split, `2000st` 2,000 optimizer steps, `1e6ex` a million examples and `5%` a
twentieth of the whole training. The idea of one helper for all of them is big_vision's.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from ptft.errors import ConfigError

Unit = Literal["ep", "st", "ex", "%"]
_PATTERN = re.compile(r"(\d+(?:\.\d*)?(?:e\+?\d+)?|\.\d+(?:e\+?\d+)?)\s*(ep|st|ex|%)")
_FORMS = "`10ep` (epochs), `2000st` (steps), `1e6ex` (examples) or `5%` (of the training)"


@dataclass(frozen=True)
class Clock:
    """What turns a duration into steps.

    Attributes:
        batch_size: Examples an optimizer step takes, over all ranks.
        num_examples: Examples in an epoch; None for a stream, which has no epochs.
        max_steps: Length of the whole training in steps; None while that is being worked out.
    """

    batch_size: int
    num_examples: int | None
    max_steps: int | None = None


@dataclass(frozen=True)
class Duration:
    """An amount of training: a number and its unit."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str, key: str = "a duration") -> "Duration":
        """Read `10ep`, `2000st`, `1e6ex` or `5%`; `key` names the setting in the error.

        Raises:
            ConfigError: The text is no duration.
        """
        match = _PATTERN.fullmatch(str(text).strip())
        if match is None:
            hint = f"; did you mean `{text}ep`?" if re.fullmatch(r"[\d.]+", str(text)) else ""
            raise ConfigError(f"{key} takes a duration such as {_FORMS}, found `{text}`{hint}")
        unit: Unit = match[2]  # type: ignore[assignment]
        amount = float(match[1])
        if math.isinf(amount):
            raise ConfigError(f"{key} takes a duration such as {_FORMS}, found `{text}`, which is too large a number")
        return cls(amount, unit)

    def __str__(self) -> str:
        return f"{self.amount:g}{self.unit}"

    def period(self, clock: Clock) -> float:
        """Return the duration in optimizer steps as a broken number, at least 1: how often something repeats.

        Raises:
            ConfigError: Epochs of a stream, or a percentage of a training of unknown length.
        """
        self.steps(clock)  # refuses what has no meaning here
        per_unit = {
            "st": 1.0,
            "ex": 1 / clock.batch_size,
            "ep": (clock.num_examples or 0) / clock.batch_size,
            "%": (clock.max_steps or 0) / 100,
        }
        return max(self.amount * per_unit[self.unit], 1.0)

    def steps(self, clock: Clock) -> int:
        """Return the duration in whole optimizer steps, rounded up, so that nothing asked for is left out.

        Raises:
            ConfigError: Epochs of a stream, or a percentage of a training of unknown length.
        """
        if self.unit == "st":
            return math.ceil(self.amount)
        if self.unit == "ex":
            return math.ceil(self.amount / clock.batch_size)
        if self.unit == "%":
            if clock.max_steps is None:
                raise ConfigError(f"engine.max={self} is a share of itself; give epochs, steps or examples")
            return math.ceil(self.amount / 100 * clock.max_steps)
        if clock.num_examples is None:
            raise ConfigError(f"{self}: this data set is a stream without epochs; give steps (st) or examples (ex)")
        # Rounding to 1e-9 keeps 0.1ep of 1,000 examples from becoming one step more than it is.
        return math.ceil(round(self.amount * clock.num_examples / clock.batch_size, 9))
