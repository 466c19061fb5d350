"""Where config files lie: the built-in tree, and the user's own (`--config-dir`), which wins."""

from dataclasses import dataclass
from pathlib import Path

import ptft

GROUPS = (
    "model", "data", "task", "optimizer", "schedule", "engine", "augmentation", "adapt", "logger", "compression",
    "sweep", "experiment", "debug",
)  # fmt: skip
"""Every config group."""


def builtin_tree() -> Path:
    """Return the config tree that ships with ptft: inside the installed package, or beside it in a source tree."""
    package = Path(ptft.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


@dataclass(frozen=True)
class Tree:
    """The folders searched for config files, the user's first."""

    user: Path | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders in the order they are searched."""
        return (*([self.user] if self.user else []), builtin_tree())

    def find(self, path: str) -> Path | None:
        """Return the file of a config such as `model/vision/vgg`, or None."""
        files = (folder / f"{path.removesuffix('.yaml')}.yaml" for folder in self.folders)
        return next((file for file in files if file.is_file()), None)

    def options(self, group: str) -> dict[str, Path]:
        """Return the options of a group, `vision/vgg` for `<group>/vision/vgg.yaml`, with their files, by name."""
        found: dict[str, Path] = {}
        for folder in reversed(self.folders):
            base = folder / group
            for file in base.rglob("*.yaml") if base.is_dir() else ():
                found[file.relative_to(base).with_suffix("").as_posix()] = file
        return dict(sorted(found.items()))


_current = Tree()


def use_tree(tree: Tree) -> None:
    """Let Hydra search this tree from now on (see `hydra_plugins/ptft/search_path.py`)."""
    global _current
    _current = tree


def current_tree() -> Tree:
    """Return the tree in use."""
    return _current
