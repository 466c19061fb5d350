"""What Hydra means by an error: every override that does not fit, each with the nearest names and the valid choices.

Hydra stops at the first problem. Here each override is looked at by itself, so that all problems are told, and the rest
of the command can still be checked without the ones that failed.
"""

import re
from collections.abc import Sequence
from typing import Any

from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ptft.config.problems import COMMAND_LINE, Problem, candidates
from ptft.config.tree import GROUPS, Tree
from ptft.errors import ConfigError

Refusals = (HydraException, OmegaConfBaseException, ConfigError, RecursionError, ValueError, KeyError, AttributeError)
"""What composing a config can raise because of what the config says."""
_MOST_CHOICES = 16


def explain(root: str, overrides: Sequence[Override], tree: Tree) -> tuple[list[str], list[Problem]]:
    """Find out which overrides do not fit a root config, after composing with all of them failed.

    Args:
        root: Name of the root config.
        overrides: The overrides of the user.
        tree: Where the options of groups lie.

    Returns:
        The overrides that fit, as text, and the problems of the others.

    Raises:
        ConfigError: The root config does not compose by itself; nothing more can be said.
    """
    good: list[str] = []
    problems: list[Problem] = []
    base = _try(root, [])
    if isinstance(base, str):
        raise ConfigError(f"the config `{root}` does not compose: {base}")
    groups = [override for override in overrides if _is_group(override, tree)]
    for override in groups:
        line = str(override.input_line)
        problem = _unknown_option(override, tree) or _of_another_verb(override, tree, root)
        found = _try(root, [*good, line]) if problem is None else problem
        if isinstance(found, str):
            problems.append(Problem(line, _plainer(found, override), COMMAND_LINE))
        else:
            good.append(line)
            base = found
    for override in overrides:
        if override in groups:
            continue
        line = str(override.input_line)
        problem = _unknown_key(override, base)
        found = _try(root, [*good, line]) if problem is None else problem
        if isinstance(found, str):
            problems.append(Problem(line, _plainer(found, override), COMMAND_LINE))
        else:
            good.append(line)
    return good, problems


def _try(root: str, overrides: Sequence[str]) -> DictConfig | str:
    """Return the composed config, or why it cannot be composed."""
    try:
        return compose(root, list(overrides), return_hydra_config=True)
    except Refusals as error:
        return describe(error)


def describe(error: BaseException) -> str:
    """Return what an error of Hydra or OmegaConf says, without its own advice on Python calls."""
    texts = [str(error), str(error.__cause__ or "")]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    noise = (
        "full_key:",
        "object_type=",
        "reference_type=",
        "Set the environment",
        "Available options",
        "Config search",
        "provider=",
    )
    kept = [line for line in lines if line and not line.startswith(noise)]
    return "\n".join(dict.fromkeys(kept)) or type(error).__name__


def _plainer(text: str, override: Override) -> str:
    """Say in the words of the command line what Hydra says in its own."""
    key = override.key_or_group
    if "Multiple values for" in text or ("Could not append" in text and "already" in text):
        return f"`{key}` is there already; drop the `+`"
    if match := re.search(r"In '([^']+)': Could not (?:find|load) '([^']+)'", text):
        if match[1] == "hydra/config":
            return _unknown_plug_in(match[2])
        return f"the config {match[1]} names `{match[2]}`, which does not exist"
    if "Could not override" in text and "No match in the defaults list" in text:
        return f"`{key}` is a group that this command does not take here; +{key}=... adds it"
    return text.replace("defaults list", "list of defaults")


def _unknown_plug_in(path: str) -> str:
    """Say that Hydra has no such sweeper or launcher, with the nearest ones and all there are."""
    group, _, name = path.rpartition("/")
    try:
        known = sorted(one.removesuffix(".yaml") for one in ConfigStore.instance().list(group))
    except OSError:  # no such group
        known = []
    near = candidates(name, known)
    meant = f"; did you mean {' or '.join(f'`{group}={other}`' for other in near)}?" if near else ""
    return f"no plug-in of Hydra brings `{path}`{meant}\nthere are: {', '.join(known) or 'none'}"


def _is_group(override: Override, tree: Tree) -> bool:
    """Tell whether an override chooses an option of a group."""
    key = override.key_or_group
    value = None if override.is_sweep_override() else override.value()
    if isinstance(value, dict) or "." in key:
        return False
    return key in GROUPS or key.startswith("hydra/") or ("/" in key and bool(tree.options(key)))


def _of_another_verb(override: Override, tree: Tree, root: str) -> str | None:
    """Return that a recipe is for another verb, whose groups this one lacks."""
    name = override.value()
    file = tree.find(f"experiment/{name}") if override.key_or_group == "experiment" else None
    found = re.search(r"^command: *(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE) if file else None
    if found is None or found[1] == root:
        return None
    return f"this recipe is for `ptft {found[1]}`; type: ptft {found[1]} experiment={name}"


def _unknown_option(override: Override, tree: Tree) -> str | None:
    """Return that an option does not exist, with the nearest ones and all there are."""
    group, value = override.key_or_group, override.value()
    names = tree.options(group)
    for name in value if isinstance(value, list) else [value] if not group.startswith("hydra/") else []:
        if name is None or str(name) in names:
            continue
        text = f"{group} has no option `{name}`"
        near = candidates(name, names)
        meant = f"; did you mean {' or '.join(f'`{group}={other}`' for other in near)}?" if near else ""
        more = f" and {len(names) - _MOST_CHOICES} more (ptft list {group})" if len(names) > _MOST_CHOICES else ""
        return f"{text}{meant}\nthere are: {', '.join(list(names)[:_MOST_CHOICES]) or 'none'}{more}"
    return None


def _unknown_key(override: Override, config: DictConfig) -> str | None:
    """Return that the key of an override does not exist, with the nearest ones; None when Hydra shall decide."""
    if override.is_add() or override.is_force_add():
        return None
    words = override.key_or_group.split(".")
    node: Any = OmegaConf.to_container(config, resolve=False)
    for depth, word in enumerate(words):
        if isinstance(node, dict) and word in node:
            node = node[word]
            continue
        above = ".".join(words[:depth])
        names = [str(name) for name in node if name not in ("hydra", "_target_")] if isinstance(node, dict) else []
        near = candidates(word, names + ([*GROUPS] if depth == 0 else []))
        rest = ".".join(words[depth + 1 :])
        if near:
            full = [".".join(part for part in (above, name, rest) if part) for name in near]
            return f"there is no key `{word}`{_under(above)}; did you mean {' or '.join(f'`{f}`' for f in full)}?"
        same = [key for key in _leaves(config) if key.rpartition(".")[2] == words[-1]][:3]
        elsewhere = f"; did you mean {' or '.join(f'`{key}`' for key in same)}?" if same else ""
        listed = f"; there are: {', '.join(names)}" if names and not same else ""
        return f"there is no key `{word}`{_under(above)}{elsewhere or listed}"
    return None


def _under(above: str) -> str:
    return f" under `{above}`" if above else ""


def _leaves(config: DictConfig) -> list[str]:
    """Return the dotted keys of all values of a config, Hydra's own aside."""
    found: list[str] = []

    def visit(node: Any, key: str) -> None:
        if isinstance(node, dict):
            for name, item in node.items():
                if key or name != "hydra":
                    visit(item, f"{key}.{name}" if key else str(name))
        else:
            found.append(key)

    visit(OmegaConf.to_container(config, resolve=False), "")
    return found
