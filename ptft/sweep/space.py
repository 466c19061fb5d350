"""The space that a sweep searches: one dimension a setting, written in Hydra's own grammar.

model=vision/vgg,vision/resnet18            a choice; so is choice(...), range(...) and glob(...)
optimizer.lr=tag(log,interval(1e-4,1e-1))   an interval, even in the logarithm
model.depth=int(interval(2,8))              an interval of whole numbers, both ends in it
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException

from ptft.errors import ConfigError

_COUNTED = 100_000
"""Points that may be counted one by one."""
Params = dict[str, str]
"""A value, as it is typed, for each key of a space."""
_DIGITS = 4
"""Significant digits of a number drawn from an interval: no metric tells more apart, and people read them."""


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Attributes:
        key: The setting.
        values: Its values as typed.
    """

    key: str
    values: tuple[str, ...]

    @property
    def ordered(self) -> bool:
        """Whether the values are numbers in ascending order, so that neighbours are alike."""
        numbers = [as_number(text) for text in self.values]
        return len(numbers) > 1 and all(a is not None and b is not None and a < b for a, b in pairwise(numbers))

    def draw(self, dice: random.Random) -> str:
        """Return a value drawn evenly."""
        return dice.choice(self.values)


@dataclass(frozen=True)
class Interval:
    """A number between two ends.

    Attributes:
        key: The setting.
        low: The lower end.
        high: The upper end.
        log: Whether it is even in the logarithm.
        integer: Whether it is a whole number.
    """

    key: str
    low: float
    high: float
    log: bool = False
    integer: bool = False

    def draw(self, dice: random.Random) -> str:
        """Return a value drawn evenly, or evenly in the logarithm."""
        if self.integer and not self.log:
            return str(dice.randint(int(self.low), int(self.high)))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = dice.uniform(low, high)
        return self.text(math.exp(value) if self.log else value)

    def text(self, value: float) -> str:
        """Return a number as it is typed, inside the ends."""
        if self.integer:
            return str(min(max(round(value), int(self.low)), int(self.high)))
        rounded = float(f"{value:.{_DIGITS}g}")
        return repr(min(max(rounded, self.low), self.high))


Dimension = Choice | Interval


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        dimensions: One a setting, in the order they were typed.
    """

    dimensions: tuple[Dimension, ...]

    @property
    def intervals(self) -> list[str]:
        """The keys whose values cannot be counted."""
        return [one.key for one in self.dimensions if isinstance(one, Interval)]

    @property
    def size(self) -> float:
        """How many different points there are; infinite with an interval of real numbers."""
        sizes = [
            len(one.values) if isinstance(one, Choice) else one.high - one.low + 1 if one.integer else math.inf
            for one in self.dimensions
        ]
        return math.prod(sizes)

    def grid(self) -> list[Params]:
        """Return every point in the order of Hydra's own grid: the last setting changes fastest.

        Raises:
            ConfigError: A setting is an interval.
        """
        if self.intervals:
            raise ConfigError(
                f"hydra/sweeper=grid cannot walk the interval of {self.intervals[0]}: name its values "
                f"({self.intervals[0]}=1,2,3), or take hydra/sweeper=random, tpe or asha"
            )
        return self._all()

    def draw(self, dice: random.Random) -> Params:
        """Return a point drawn at random."""
        return {one.key: one.draw(dice) for one in self.dimensions}

    def draw_new(self, dice: random.Random, known: Sequence[Params]) -> Params:
        """Return a point that is not among those known, if there is one."""
        found = first_new(lambda: self.draw(dice), known)
        if found in known and self.size <= _COUNTED:
            found = dice.choice([point for point in self._all() if point not in known] or [found])
        return found

    def _all(self) -> list[Params]:
        """Return every point of a space that can be counted."""
        values = [
            one.values if isinstance(one, Choice) else [str(n) for n in range(int(one.low), int(one.high) + 1)]
            for one in self.dimensions
        ]
        return [dict(zip([one.key for one in self.dimensions], point, strict=True)) for point in product(*values)]


def first_new(draw: Callable[[], Params], known: Sequence[Params], most: int = 100) -> Params:
    """Draw until a point is none of those known, but not for ever."""
    found = draw()
    for _ in range(most):
        if found not in known:
            break
        found = draw()
    return found


def read_space(texts: Sequence[str], loader: Any = None) -> tuple[Space, list[str]]:
    """Take the overrides that have several values out of a command line.

    Args:
        texts: Overrides in Hydra's grammar.
        loader: Hydra's config loader, which `glob(...)` asks for the options of a group.

    Returns:
        The space, and the overrides of one value; of a key typed twice the last counts.

    Raises:
        ConfigError: An override cannot be read or an interval is empty.
    """
    parser = OverridesParser.create(config_loader=loader)
    dimensions: dict[str, Dimension] = {}
    fixed: dict[str, str] = {}
    for text in texts:
        try:
            (override,) = parser.parse_overrides([text])  # `parse_override` would forget the loader
            key = override.get_key_element()
            if override.is_sweep_override():
                fixed.pop(key, None)
                dimensions[key] = _dimension(key, override)
            else:
                dimensions.pop(key, None)
                fixed[key] = text
        except HydraException as error:
            raise ConfigError(f"{text}: cannot be read: {str(error).splitlines()[0]}") from None
    return Space(tuple(dimensions.values())), list(fixed.values())


def _dimension(key: str, override: Override) -> Dimension:
    value: Any = override.value()
    if not isinstance(value, IntervalSweep):
        shuffled = bool(getattr(value, "shuffle", False))
        if shuffled:
            value.shuffle = False  # Hydra shuffles anew each time, and a sweep that goes on must find its order again
        values = list(dict.fromkeys(map(str, override.sweep_string_iterator())))
        if shuffled:
            random.Random(key).shuffle(values)
        return Choice(key, tuple(values))
    assert value.start is not None and value.end is not None
    unknown = sorted(value.tags - {"log"})
    if unknown:
        raise ConfigError(f"{override.input_line}: an interval knows the tag log, not {', '.join(unknown)}")
    log, integer = "log" in value.tags, isinstance(value.start, int)
    if not value.start < value.end or (log and value.start <= 0):
        what = "ends above 0, the smaller first" if log else "two ends, the smaller first"
        raise ConfigError(f"{override.input_line}: the interval needs {what}")
    return Interval(key, float(value.start), float(value.end), log, integer)


def as_number(text: str) -> float | None:
    """Return the number that a value is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
