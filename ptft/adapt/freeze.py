"""Freeze a part of a model: its first blocks, or parameters by pattern."""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from ptft.adapt.adapt import Adapt, freeze, parts_for
from ptft.errors import ConfigError
from ptft.model.parts import belongs
from ptft.types import NonNegativeInt


class Freeze(Adapt):
    """Train all but the first blocks and the parameters that match a pattern; the two add up."""

    def __init__(self, *, blocks: NonNegativeInt = 1, patterns: tuple[str, ...] = ()) -> None:
        """Choose what is frozen.

        Args:
            blocks: Freeze this many blocks from the input on, and the stem with them; 0 freezes neither.
            patterns: Freeze the parameters whose full name matches one of these: `blocks.0.*`, `*.bias`.

        Raises:
            ConfigError: Nothing is chosen.
        """
        if not blocks and not patterns:
            raise ConfigError(
                "adapt=freeze with adapt.blocks=0 and adapt.patterns=[] freezes nothing; give one of them, "
                "or use adapt=full"
            )
        self.blocks = blocks
        self.patterns = tuple(patterns)

    def apply(self, model: nn.Module) -> None:
        """Freeze the chosen blocks and parameters.

        Raises:
            ConfigError: The model has fewer blocks, a pattern matches no parameter, or nothing is left to train.
        """
        prefixes = self._prefixes(model)
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        self._check_patterns(names)
        matched = {name for name in names if any(fnmatchcase(name, pattern) for pattern in self.patterns)}
        freeze(model, lambda name: name in matched or any(belongs(name, prefix) for prefix in prefixes))

    def _prefixes(self, model: nn.Module) -> list[str]:
        if not self.blocks:
            return []
        parts = parts_for(model, "freeze")
        if self.blocks > len(parts.blocks):
            raise ConfigError(
                f"adapt.blocks={self.blocks}, but {type(model).__name__} has {len(parts.blocks)} blocks; "
                f"use 0 to {len(parts.blocks)}"
            )
        return [*parts.stem, *(prefix for block in parts.blocks[: self.blocks] for prefix in block)]

    def _check_patterns(self, names: list[str]) -> None:
        idle = [pattern for pattern in self.patterns if not any(fnmatchcase(name, pattern) for name in names)]
        if idle:
            raise ConfigError("\n".join(f"adapt.patterns: {_unmatched(pattern, names)}" for pattern in idle))


def _unmatched(pattern: str, names: Iterable[str]) -> str:
    """Say that a pattern matches no parameter, and which names or patterns come near it."""
    words = [name.split(".") for name in names]
    globs = [".".join([*path[:depth], "*"]) for path in words for depth in range(1, len(path))]
    candidates = list(dict.fromkeys(globs if "*" in pattern else map(".".join, words)))
    near = get_close_matches(pattern, candidates, n=3, cutoff=0.4) or candidates[:3]
    return f"`{pattern}` matches no parameter of the model; near names: {', '.join(near)}"
