"""`${...}` in a config: resolved key by key, so that every fault is found, and never at any price.

Text like `${a}${a}` doubles at each level; 30 such lines would fill the memory. The size is worked out before anything
is resolved, which also finds references in a circle. The environment is not read: a shared config could carry it off.
"""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ptft.config.kinds import Complaint
from ptft.errors import ConfigError

_REFERENCE = re.compile(r"\$\{\s*([^${}:\s][^${}:]*?)\s*\}")
_MAX_SIZE = 100_000  # characters that all references together may become
_REFERENCE_SIZE = 100  # what resolving one reference counts for: as long as copying so many characters, or longer


def forbid_environment() -> None:
    """Make `${oc.env:...}` an error from now on."""
    OmegaConf.register_new_resolver("oc.env", _no_environment, replace=True)


def _no_environment(*_: Any) -> Any:
    raise ConfigError("${oc.env:...} is refused: a config never reads the environment; write KEY=$NAME in the shell")


def resolve(config: DictConfig) -> tuple[dict[str, Any], list[Complaint]]:
    """Return a config as plain values with all references resolved, and what was wrong with them.

    A value that cannot be resolved is left as it is written.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    sizes = _Sizes(raw)
    complaints: list[Complaint] = []
    for key, text in _references(raw):
        if wrong := sizes.check(key):
            complaints.append((key, wrong))
            continue
        try:
            value = OmegaConf.select(config, key, throw_on_resolution_failure=True)
            plain = OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value
            _put(raw, key, plain)
        except (OmegaConfBaseException, RecursionError) as error:
            # The same fault is told once: the first line says it, the others repeat the key.
            complaints.append((key, f"{text}: {_first_line(error)}"))
    return raw, complaints


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r"^\w+ raised while resolving interpolation: ", "", text)


def _references(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the key and the text of every value that holds a reference."""
    if isinstance(value, dict):
        for name, item in list(value.items()):
            yield from _references(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(list(value)):
            yield from _references(item, f"{key}[{number}]")
    elif isinstance(value, str) and "${" in value:
        yield key, value


def _words(key: str) -> list[str]:
    return [word for word in re.split(r"[.\[\]]+", key) if word]


def _get(tree: Any, words: list[str]) -> Any:
    for word in words:
        if isinstance(tree, dict) and word in tree:
            tree = tree[word]
        elif isinstance(tree, list) and word.isdigit() and int(word) < len(tree):
            tree = tree[int(word)]
        else:
            return None
    return tree


def _put(tree: Any, key: str, value: Any) -> None:
    *above, last = _words(key)
    parent = _get(tree, above)
    parent[int(last) if isinstance(parent, list) else last] = value


class _Sizes:
    """How much each key becomes once its references are written out."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree
        self.known: dict[tuple[str, ...], int] = {}
        self.path: list[tuple[str, ...]] = []
        self.spent = 0

    def check(self, key: str) -> str | None:
        """Return what is wrong with a key, or None."""
        try:
            self.spent += self._size(_words(key))
            if self.spent > _MAX_SIZE:
                raise _TooBigError
        except _CircleError as circle:
            return f"refers to itself in a circle: {circle}"
        except _TooBigError:
            return f"the references up to here become more than {_MAX_SIZE:,} characters once they are written out"
        return None

    def _size(self, words: list[str]) -> int:
        at = tuple(words)
        if at in self.path:
            raise _CircleError(" -> ".join(".".join(step) for step in [*self.path[self.path.index(at) :], at]))
        if at not in self.known:
            self.path.append(at)
            try:
                self.known[at] = self._size_of(_get(self.tree, words), words)
            finally:
                self.path.pop()
        if self.known[at] > _MAX_SIZE:
            raise _TooBigError
        return self.known[at]

    def _size_of(self, value: Any, words: list[str]) -> int:
        if isinstance(value, dict):
            return 1 + sum(self._size([*words, str(name)]) for name in value)
        if isinstance(value, list):
            return 1 + sum(self._size([*words, str(number)]) for number in range(len(value)))
        if not isinstance(value, str):
            return 1
        targets = [_target(match[1], words) for match in _REFERENCE.finditer(value)]
        return len(value) + sum(_REFERENCE_SIZE + self._size(target) for target in targets)


def _target(reference: str, words: list[str]) -> list[str]:
    """Return the absolute key of a reference; leading dots climb from the mapping that holds it."""
    dots = len(reference) - len(reference.lstrip("."))
    return [*(words[: len(words) - dots] if dots else []), *_words(reference)]


class _CircleError(Exception):
    """A key refers to itself."""


class _TooBigError(Exception):
    """A key becomes too much."""
