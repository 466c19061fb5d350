"""`ptft list`: the options of every config group, one line each, from the first comment of their files."""

from pathlib import Path

from ptft.config.problems import nearest
from ptft.config.tree import GROUPS, Tree
from ptft.errors import ConfigError

_PLURALS = {
    "models": "model", "tasks": "task", "optimizers": "optimizer", "schedules": "schedule", "engines": "engine",
    "augmentations": "augmentation", "adapts": "adapt", "adaptations": "adapt", "loggers": "logger",
    "experiments": "experiment", "debugs": "debug",
}  # fmt: skip


def list_options(group: str | None = None, config_dir: str | None = None) -> str:
    """Return a line for each option of a group, or for each group.

    Raises:
        ConfigError: There is no such group or folder.
    """
    folder = Path(config_dir).expanduser().absolute() if config_dir is not None else None
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir {config_dir}: there is no folder {folder}")
    tree = Tree(folder)
    if group is None:
        rows = [(name, _counted(len(tree.options(name)))) for name in GROUPS]
        return _table(rows) + "\n\nptft list <group> tells what they are; group=option chooses one."
    name = _PLURALS.get(group, group)
    if name not in GROUPS:
        meant = nearest(group, [*GROUPS, *_PLURALS])
        raise ConfigError(f"there is no group `{group}`{meant or '; there are ' + ', '.join(GROUPS)}")
    options = tree.options(name)
    if not options:
        return f"{name} has no options yet"
    return _table([(option, summary(file)) for option, file in options.items()])


def summary(file: Path) -> str:
    """Return the first comment line of a config file that is no package directive."""
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                text = line.strip()
                if text.startswith("#") and not text.startswith("# @package"):
                    return text.lstrip("# ").rstrip()
                if text and not text.startswith("#"):
                    break
    except OSError:
        pass
    return ""


def _counted(number: int) -> str:
    return f"{number} option{'' if number == 1 else 's'}"


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in rows)
