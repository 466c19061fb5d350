"""`ptft list`: the options of every config group and the ways to fine-tune, one line each.

The lines are the comments of the config files, so that they cannot say something else.
"""

import re
import textwrap
from pathlib import Path

from ptft.config.problems import nearest
from ptft.config.tree import GROUPS, Tree
from ptft.errors import ConfigError

_PLURALS = {
    "models": "model", "tasks": "task", "optimizers": "optimizer", "schedules": "schedule", "engines": "engine",
    "augmentations": "augmentation", "adapts": "adapt", "adaptations": "adapt", "loggers": "logger",
    "compressions": "compression", "sweeps": "sweep", "experiments": "experiment", "debugs": "debug",
}  # fmt: skip
STRATEGIES = "strategies"
"""The topic that is no group: every way to fine-tune."""
_SETTINGS = (
    ("optimizer.layer_decay=0.75", "optimizer/adamw"),
    ("optimizer.head_multiplier=10", "optimizer/adamw"),
    ("engine.ema.decay=0.999", "engine/default"),
    ("engine.swa.start=75%", "engine/default"),
    ("task.test_time_flips=true", "task/classification"),
)
"""Ways to fine-tune that are a setting and no option of `adapt`, each with the file whose comment explains it."""


def list_options(group: str | None = None, config_dir: str | None = None, width: int | None = None) -> str:
    """Return a line for each option of a group, or for each group.

    Args:
        group: Singular or plural, or `strategies`; None: all groups are counted.
        config_dir: A folder with options beside the built-in ones.
        width: Columns of the terminal, where a long text goes on below itself; None: a line stays one line.

    Raises:
        ConfigError: There is no such group or folder.
    """
    folder = Path(config_dir).expanduser().absolute() if config_dir is not None else None
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--config-dir {config_dir}: there is no folder {folder}")
    tree = Tree(folder)
    if group is None:
        rows = [(name, _counted(len(tree.options(name)))) for name in GROUPS]
        hint = "ptft list <group> tells what they are; group=option chooses one."
        return f"{_table(rows, width)}\n\n{hint}\nptft list {STRATEGIES} tells every way to fine-tune."
    if group == STRATEGIES:
        hint = "Each setting goes with each adapt= and with the others, but for ema and swa."
        return f"{_table(strategies(tree), width)}\n\n{hint}"
    name = _PLURALS.get(group, group)
    if name not in GROUPS:
        meant = nearest(group, [*GROUPS, *_PLURALS, STRATEGIES])
        raise ConfigError(f"there is no group `{group}`{meant or '; there are ' + ', '.join(GROUPS)}")
    options = tree.options(name)
    if not options:
        return f"{name} has no options yet"
    return _table([(option, summary(file)) for option, file in options.items()], width)


def strategies(tree: Tree) -> list[tuple[str, str]]:
    """Return what to type and what it does for each way to fine-tune: the options of `adapt`, then single settings."""
    rows = [(f"adapt={option}", summary(file)) for option, file in tree.options("adapt").items()]
    for typed, path in _SETTINGS:
        if text := _comment_beside(typed.partition("=")[0].split(".")[1], tree.find(path)):
            rows.append((typed, text.partition(": engine.")[0].removeprefix("true: ")))
    return rows


def _comment_beside(key: str, file: Path | None) -> str:
    """Return the comment beside a top-level key of a config file; empty if there is none."""
    text = file.read_text(encoding="utf-8", errors="replace") if file is not None else ""
    found = re.search(rf"^{key}:[^#\n]*# *(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


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


def _table(rows: list[tuple[str, str]], width: int | None) -> str:
    names = max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        room = max(width - names - 2, 20) if width is not None else max(len(text), 1)
        parts = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append(f"{name:<{names}}  {parts[0]}".rstrip())
        lines += [" " * (names + 2) + part for part in parts[1:]]
    return "\n".join(lines)
