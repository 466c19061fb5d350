"""A command line taken apart: ptft's own flags, Hydra's flags, overrides; and what it may not hold."""

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, ValueType
from hydra.errors import HydraException

from ptft.config.defaults import defaults_for
from ptft.config.problems import COMMAND_LINE, Problem
from ptft.config.resolve import find_plugin
from ptft.errors import ConfigError

_MAX_LENGTH, _MAX_DEPTH = 10_000, 32
_HYDRA_KEYS = re.compile(
    r"hydra/(launcher|sweeper)|hydra\.(launcher|sweeper)\.[\w.]+|hydra\.run\.dir|hydra\.sweep\.(dir|subdir)|hydra\.verbose"
)
OPEN = ("engine.ema.", "engine.swa.", "engine.early_stopping.", "optimizer.phases.", "gate.", "distil.", "columns.")
"""What may be filled in on the command line although the config holds null or an empty mapping there."""
_TEXTS = ("input", "prompt", "output", "id")
"""Keys of `predict` whose values are texts and paths: a person quotes them for the shell alone."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """One command line after its verb.

    Attributes:
        argv: As typed, without the verb.
        overrides: The overrides in Hydra's grammar.
        flags: Flags to hand on to Hydra.
        root: Name of the root config.
        multirun: Whether it is a sweep (`-m`).
        shows: Whether it only prints something (`--cfg`, `--info`, `--hydra-help` ...).
        config_dir: The folder of `--config-dir`.
        plugins: The packages of `--plugin`.
    """

    argv: tuple[str, ...]
    overrides: tuple[str, ...]
    flags: tuple[str, ...]
    root: str
    multirun: bool
    shows: bool
    config_dir: Path | None
    plugins: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ConfigError(f"{message}; `ptft --help` and `ptft <verb> --help` show what there is")


def parse_arguments(verb: str, argv: Sequence[str]) -> Arguments:
    """Take a command line apart.

    Raises:
        ConfigError: A flag is unknown, refused, or names what does not exist.
    """
    parser = get_args_parser()
    parser.__class__ = _Parser
    parser.add_argument("--plugin", action="append", default=[])
    found = parser.parse_intermixed_args(list(argv))
    if found.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun is refused: it runs a pickle file; resume= continues a run safely")
    if found.config_path is not None:
        raise ConfigError(
            "--config-path is refused: the built-in configs are always there; --config-dir DIR adds yours"
        )
    folder = Path(found.config_dir).expanduser().absolute() if found.config_dir is not None else None
    if folder is not None and not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(f"--config-dir {found.config_dir}: {folder} {what}")
    if found.plugin and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that nothing here hides an installed package
    for plugin in found.plugin:
        if wrong := find_plugin(plugin):
            raise ConfigError(f"--plugin {plugin}: {wrong}")
    if verb == "predict" and found.multirun:
        raise ConfigError("-m: ptft predict runs one job, which has one output; call it once for each")
    overrides = [_as_text(text) if verb == "predict" else text for text in found.overrides]
    overrides = [*defaults_for(verb, overrides), *overrides]
    flags = [flag for flag in ("multirun", "run", "resolve", "hydra_help", "shell_completion") if getattr(found, flag)]
    values = [flag for flag in ("cfg", "package", "info") if getattr(found, flag) is not None]
    if found.multirun and (values or found.hydra_help or found.run):
        raise ConfigError("-m cannot stand beside --run, --hydra-help, --cfg, --package or --info: take one of the two")
    handed = [f"--{flag.replace('_', '-')}" for flag in flags]
    return Arguments(
        argv=tuple(argv),
        overrides=tuple(_fill_in(_listed(override, verb, found.multirun)) for override in overrides),
        # `--info` takes its value behind `=`, or it would swallow the first override.
        flags=tuple(handed + [f"--{flag}={getattr(found, flag)}" for flag in values]),
        root=found.config_name or verb,
        multirun=found.multirun,
        shows=bool({"hydra_help", "shell_completion"} & set(flags) or {"cfg", "info"} & set(values)),
        config_dir=folder,
        plugins=tuple(found.plugin),
    )


def _fill_in(override: str) -> str:
    """Write `++` before an override of what the config leaves open, so that nobody has to know that it is empty."""
    key = override.partition("=")[0]
    return f"++{override}" if f"{key}.".startswith(OPEN) else override


def _as_text(override: str) -> str:
    """Quote what is typed behind `input=` and the like for Hydra, whose grammar knows other signs than the shell's.

    What is quoted or a list of prompts already, and reads as such, stays; so does null.
    """
    key, _, value = override.partition("=")
    if key not in _TEXTS or value == "null":
        return override
    listed = key == "prompt" and value.startswith("[")
    if listed or value[:1] in ("'", '"'):
        with contextlib.suppress(HydraException, RecursionError):
            found = OverridesParser.create().parse_override(override)
            if not found.is_sweep_override() and isinstance(found.value(), list if listed else str):
                return override
    # `${` would be a reference; backslashes mean something before it, before a quote and at the end alone.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    text = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), text)
    return f"{key}='{text}'"


def _listed(override: str, verb: str, multirun: bool) -> str:
    """Make a list of `run=a,b`: an evaluation compares them, where other commands, and -m, run one job for each."""
    if verb != "evaluate" or multirun or not override.startswith("run="):
        return override
    with contextlib.suppress(HydraException, RecursionError):  # told when it is read
        if OverridesParser.create().parse_override(override).value_type == ValueType.SIMPLE_CHOICE_SWEEP:
            return f"run=[{override.removeprefix('run=')}]"
    return override


def listed_runs(overrides: Sequence[Override]) -> list[str] | None:
    """Return the runs that `run=[a,b]` names, or None where it names none or one."""
    found = None
    for override in overrides:
        if override.key_or_group == "run" and not override.is_delete():
            value = override.value()
            found = [str(item) for item in value] if isinstance(value, list) else None
    return found


def parse_overrides(texts: Sequence[str]) -> tuple[list[Override], list[Problem]]:
    """Read overrides one by one; those that cannot be read, or may not be given, become problems."""
    parser = OverridesParser.create()
    good: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            problem = _too_much(text)
            if problem is None:
                override = parser.parse_override(text)
                problem = _forbidden(override) or _sweep(override)
                good += [override] if problem is None else []
        except HydraException as error:
            detail = str(error).splitlines()[0].partition(" expecting {")[0]  # what a grammar knows helps nobody
            fault = f"cannot be read: {detail}" if "=" in text else "is no setting: there is no `=` in it"
            problem = f"{fault}\nwrite key=value, and quote what has spaces or signs: 'key=\"a b\"'"
        except RecursionError:
            problem = "is nested too deep"
        if problem is not None:
            problems.append(Problem(text if len(text) < 100 else text[:97] + "...", problem, COMMAND_LINE))
    return good, problems


def _too_much(text: str) -> str | None:
    if len(text) > _MAX_LENGTH:
        return f"has {len(text):,} characters; an override has at most {_MAX_LENGTH:,}"
    depth = deepest = 0
    for character in text:
        depth += (character in "[{(") - (character in ")}]")
        deepest = max(deepest, depth)
    if deepest > _MAX_DEPTH:
        return f"is nested deeper than {_MAX_DEPTH} levels"
    if any((ord(character) < 32 and character not in "\t\n") or ord(character) == 127 for character in text):
        return "holds a control character"
    return None


def _forbidden(override: Override) -> str | None:
    """Return why an override may not be given: it reaches into Hydra, or puts a target where none belongs."""
    key = override.key_or_group
    whole = override.get_key_element().lstrip("+~")
    if key == "hydra" or key.startswith(("hydra.", "hydra/")) or "hydra" in (override.package or "").split("."):
        plain = _HYDRA_KEYS.fullmatch(whole) is not None and override.type in (
            OverrideType.CHANGE,
            OverrideType.FORCE_ADD,
        )
        if not plain or "_target_" in whole or any("_target_" in str(name) for name in _keys(override.value())):
            return (
                "is refused: of Hydra's own settings a command line may give hydra/launcher, hydra/sweeper and their "
                "settings, hydra.run.dir, hydra.sweep.dir, hydra.sweep.subdir and hydra.verbose"
            )
    return None


def _sweep(override: Override) -> str | None:
    """Return that several values need a sweep; the sweeps of `-m` are taken apart before they come here."""
    if not override.is_sweep_override():
        return None
    key = override.get_key_element()
    value = str(override.input_line).partition("=")[2]
    return f"has several values: -m runs one job for each, {key}=[{value}] gives a list, {key}=\\'{value}\\' a text"


def _keys(value: Any) -> Iterator[Any]:
    """Yield every key of nested mappings."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)


def plain_value(overrides: Sequence[Override], key: str) -> str | None:
    """Return the last value given for a key, as text; None when there is none, or it is null or a sweep."""
    found = None
    for override in overrides:
        if override.key_or_group == key and not override.is_sweep_override() and not override.is_delete():
            value = override.value()
            found = None if value is None else str(value)
    return found


def variants(texts: Sequence[str], loader: Any = None, most: int = 200) -> list[list[str]]:
    """Return sets of single-valued overrides in which each value of a sweep stands at least once.

    The first value of each sweep stands beside every value of the others, so that problems of single values are found
    without composing the whole product. Of an interval, whose values only a sweeper knows, its ends stand there.
    """
    parser = OverridesParser.create(config_loader=loader)
    lines: list[list[str]] = []
    for text in texts:
        try:
            (override,) = parser.parse_overrides([text])
        except (HydraException, RecursionError):
            lines.append([text])  # told when the job is checked
            continue
        if not override.is_sweep_override():
            lines.append([text])
        elif override.is_discrete_sweep():
            lines.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
        elif isinstance(interval := override.value(), IntervalSweep):
            lines.append([f"{override.get_key_element()}={end}" for end in (interval.start, interval.end)])
    first = [choices[0] for choices in lines]
    others = [
        [*first[:place], value, *first[place + 1 :]] for place, choices in enumerate(lines) for value in choices[1:]
    ]
    return [first, *others][:most]


def quoted(value: object) -> str:
    """Return a value as a quoted string of Hydra's grammar."""
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
