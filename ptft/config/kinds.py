"""Which values a config key takes: one class a form, which says what it expects and converts what it gets.

A kind is read from an annotation in source (see `signature.py`) and checks values as YAML and the
command line make them: None, bool, int, float, str, list, dict.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ptft.config.problems import nearest, shown
from ptft.errors import ConfigError
from ptft.runtime.duration import Duration
from ptft.types import Range

Complaint = tuple[str, str]
"""A key and what is wrong with its value."""


class Kind(Protocol):
    """What a value may be."""

    @property
    def text(self) -> str:
        """What is expected, in words."""
        ...

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield what is wrong with a value; nothing when it fits."""
        ...

    def convert(self, value: Any) -> Any:
        """Return a value that fits in the form the annotation names."""
        ...


@dataclass(frozen=True)
class Anything:
    """Any value: the annotation says nothing that can be checked."""

    text: str = "anything"

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield nothing."""
        yield from ()

    def convert(self, value: Any) -> Any:
        """Return the value."""
        return value


@dataclass(frozen=True)
class Scalar:
    """A string, truth value, whole number, number or null."""

    type: type
    range: Range | None = None

    @property
    def text(self) -> str:
        """What is expected, in words."""
        words = {str: "text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
        return words[self.type] + (f" {self.range}" if self.range else "")

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield a complaint unless the value has the type and lies in the range; a bool is no number."""
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        fits = type(value) is self.type or (self.type is float and numeric)
        if fits and numeric and not math.isfinite(value):
            yield key, f"takes a finite number, found {shown(value)}"
        elif not fits or (self.range is not None and value not in self.range):
            quoted = " (text: drop the quotes)" if self.type in (int, float) and _is_number(value) else ""
            yield key, f"takes {self.text}, found {shown(value)}{quoted}"

    def convert(self, value: Any) -> Any:
        """Return the value; a whole number becomes a float where one is expected."""
        return float(value) if self.type is float else value


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


@dataclass(frozen=True)
class DurationKind:
    """A duration: `10ep`, `2000st`, `1e6ex`, `5%`."""

    text: str = "a duration such as `10ep`"

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield what the parser of durations says."""
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ConfigError(f"{key} takes {self.text}, found {shown(value)}")
            Duration.parse(str(value), key)
        except ConfigError as error:
            yield key, str(error).removeprefix(f"{key} ")

    def convert(self, value: Any) -> Any:
        """Return the text."""
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]

    @property
    def text(self) -> str:
        """What is expected, in words."""
        return ("one of " if len(self.values) > 1 else "") + ", ".join(shown(value) for value in self.values)

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield a complaint with the nearest choice."""
        if not any(type(value) is type(choice) and value == choice for choice in self.values):
            yield key, f"takes {self.text}, found {shown(value)}{nearest(value, [str(v) for v in self.values])}"

    def convert(self, value: Any) -> Any:
        """Return the value."""
        return value


@dataclass(frozen=True)
class ListOf:
    """A list (or, converted, a tuple) of values of one kind, or of as many kinds as it has places."""

    items: tuple[Kind, ...]
    fixed: bool = False
    make: type = list

    @property
    def text(self) -> str:
        """What is expected, in words."""
        if self.fixed:
            return f"a list of {len(self.items)} values ({', '.join(item.text for item in self.items)})"
        return f"a list, each {self.items[0].text}"

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield what is wrong with the list or its items."""
        if not isinstance(value, list | tuple) or (self.fixed and len(value) != len(self.items)):
            yield key, f"takes {self.text}, found {shown(value)}"
            return
        for number, item in enumerate(value):
            yield from self._kind(number).complaints(f"{key}[{number}]", item)

    def convert(self, value: Any) -> Any:
        """Return a list or tuple of converted items."""
        return self.make(self._kind(number).convert(item) for number, item in enumerate(value))

    def _kind(self, number: int) -> Kind:
        return self.items[number if self.fixed else 0]


@dataclass(frozen=True)
class MappingOf:
    """A mapping of free names to values of one kind."""

    item: Kind

    @property
    def text(self) -> str:
        """What is expected, in words."""
        return "a mapping of names to values" + ("" if isinstance(self.item, Anything) else f", each {self.item.text}")

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield what is wrong with the mapping or its values."""
        if not isinstance(value, dict):
            yield key, f"takes {self.text}, found {shown(value)}"
            return
        for name, item in value.items():
            yield from self.item.complaints(f"{key}.{name}", item)

    def convert(self, value: Any) -> Any:
        """Return the mapping with converted values."""
        return {name: self.item.convert(item) for name, item in value.items()}


@dataclass(frozen=True)
class OneOf:
    """A union: a value of any of several kinds."""

    kinds: tuple[Kind, ...]

    @property
    def text(self) -> str:
        """What is expected, in words."""
        return " or ".join(kind.text for kind in self.kinds)

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield a complaint unless one kind fits; that of the only kind of the same shape, if there is one."""
        found = [list(kind.complaints(key, value)) for kind in self.kinds]
        if not all(found):
            return
        real: list[Kind] = [kind for kind in self.kinds if not (isinstance(kind, Scalar) and kind.type is type(None))]
        if isinstance(value, dict | list):
            shaped: list[Kind] = [kind for kind in real if isinstance(kind, Record | MappingOf | ListOf)]
            real = shaped if len(shaped) == 1 else real
        elif len(real) == 1 and isinstance(real[0], Record):
            real = []
        if len(real) == 1:
            yield from real[0].complaints(key, value)
        else:
            yield key, f"takes {self.text}, found {shown(value)}"

    def convert(self, value: Any) -> Any:
        """Return the value converted by the first kind that fits."""
        return next(kind for kind in self.kinds if not list(kind.complaints("", value))).convert(value)


@dataclass(frozen=True)
class Field:
    """One setting of a component or of a settings class.

    Attributes:
        name: Its name.
        kind: The values it takes.
        required: Whether it has no default.
    """

    name: str
    kind: Kind = field(default_factory=Anything)
    required: bool = False


@dataclass(frozen=True)
class Record:
    """A mapping with fixed keys: a settings dataclass, or the arguments of a component."""

    name: str
    fields: tuple[Field, ...]
    open: bool = False

    @property
    def text(self) -> str:
        """What is expected, in words."""
        return f"a mapping with the keys {', '.join(f.name for f in self.fields)}"

    def complaints(self, key: str, value: Any) -> Iterator[Complaint]:
        """Yield unknown and missing keys, and what is wrong with the values."""
        if not isinstance(value, dict):
            yield key, f"takes {self.text}, found {shown(value)}"
            return
        known = {f.name: f for f in self.fields}
        owner = f"`{key}`" if key and self.name.endswith("Settings") else self.name
        for name, item in value.items():
            inner = f"{key}.{name}" if key else str(name)
            if name in known:
                yield from known[name].kind.complaints(inner, item)
            elif not self.open:
                takes = f"; it takes {', '.join(known)}" if known else "; it takes none"
                yield inner, f"{owner} has no setting `{name}`{nearest(name, known) or takes}"
        for f in self.fields:
            if f.required and f.name not in value:
                yield f"{key}.{f.name}" if key else f.name, f"is required by {owner}: {f.kind.text}"

    def convert(self, value: Any) -> Any:
        """Return the mapping with converted values."""
        known = {f.name: f.kind for f in self.fields}
        return {name: known[name].convert(item) if name in known else item for name, item in value.items()}
