"""Where a value of a composed config comes from: the command line, or a file and a line of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override

from ptft.config.problems import COMMAND_LINE
from ptft.config.tree import Tree


def file_named(tree: Tree, path: str) -> str:
    """Return the file of a config as text, or an empty text."""
    found = tree.find(path)
    return _short(found) if found is not None else ""


def _short(path: Path) -> str:
    """Return a path as a person would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


class Origins:
    """Looks keys up in the order in which later sources win: command line, experiment and debug, options, root."""

    def __init__(self, tree: Tree, root: str, choices: dict[str, str], overrides: Sequence[Override]) -> None:
        self.tree = tree
        self.root = root
        self.choices = choices
        self.keys = [override.key_or_group for override in overrides]

    def of(self, key: str) -> str:
        """Return where the value of a key comes from; empty when no source holds it."""
        words = key.replace("[", ".").replace("]", "").split(".")
        for length in range(len(words), 0, -1):
            if ".".join(words[:length]) in self.keys and (
                length > 1 or words[0] not in self.choices or len(words) == 1
            ):
                return COMMAND_LINE
        if any(given.startswith(f"{key}.") for given in self.keys) and words[0] not in self.choices:
            return COMMAND_LINE
        for group in ("debug", "experiment"):
            if group in self.choices and (where := self._in_file(f"{group}/{self.choices[group]}", words)):
                return where
        option = self.choices.get(words[0])
        if option is not None and (where := self._in_file(f"{words[0]}/{option}", words[1:] or ["_target_"])):
            return where
        return self._in_file(self.root, words) or ""

    def _in_file(self, path: str, words: list[str]) -> str | None:
        """Return `file:line` if a config file sets the key, or a mapping that ends in it."""
        file = self.tree.find(path)
        if file is None:
            return None
        try:
            node: Any = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return None
        line = None
        for word in words:
            if not isinstance(node, yaml.MappingNode):
                break
            pairs = [(name, value) for name, value in node.value if name.value == word]
            if not pairs:
                return None
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        return f"{_short(file)}:{line}" if line is not None else None
