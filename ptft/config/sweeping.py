"""What `-m` means: which sweep is begun or gone on with, and what is typed for each of its trials."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from ptft.config.arguments import Arguments, parse_arguments, parse_overrides, plain_value, quoted
from ptft.errors import CheckpointError, ConfigError
from ptft.runtime import files
from ptft.runtime.find import read_record
from ptft.sweep.space import Space, read_space
from ptft.sweep.study import FILE, Study
from ptft.sweep.trial import Trial

METHODS = ("auto", "grid", "random", "tpe", "asha")
"""Our sweepers, as `hydra/sweeper=` names them."""
SWEEPER, LAUNCHER = "auto", "processes"
"""The sweeper and the launcher where none is named."""
_CHANGED_ON_RESUME = ("sweep.", "hydra/launcher", "hydra.launcher.", "output_root")
_TRAINS = ("pretrain", "finetune")


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What our sweeper is told of one command line.

    Attributes:
        verb: The command.
        argv: What was typed after it, of a resumed sweep both times.
        folder: The folder of the sweep.
        settings: The keys of `sweep`.
        space: What is searched.
        fixed: The overrides of one value.
        seed: `engine.seed`, the first of several.
        resumed: Whether the sweep is there already.
        own: Whether our sweeper sweeps.
    """

    verb: str
    argv: tuple[str, ...]
    folder: Path
    settings: Mapping[str, Any]
    space: Space
    fixed: tuple[str, ...]
    seed: int
    resumed: bool
    own: bool

    def overrides(self, trial: Trial, share: float) -> tuple[str, ...]:
        """Return what is typed for a trial that is about to start.

        Args:
            trial: The trial.
            share: How much of a whole training it does.
        """
        folder = self.folder / str(trial.number)
        record = read_record(folder)
        stop = f"{100 * share:.6g}%" if share < 1 else "null"
        if record and self.verb in _TRAINS:
            # The run keeps its config; only how far it goes may be another.
            own = [text for text in self.fixed if text.startswith("output_root=")]
            return (
                *own,
                f"resume={quoted(f'./{folder}' if not folder.is_absolute() else folder)}",
                f"engine.stop_at={stop}",
            )
        chosen = [f"{key}={value}" for key, value in trial.params.items()]
        seed = [f"engine.seed={self.seed + trial.seed}"] if int(self.settings["seeds"]) > 1 else []
        part = [f"engine.stop_at={stop}"] if share < 1 else []
        # What is left of an attempt that never became a run, or of one that cannot go on.
        again = ["overwrite=true"] if folder.exists() and not (record and self.verb == "compress") else []
        return (*self.fixed, *chosen, *seed, *part, *again)


def take_up(arguments: Arguments, verb: str) -> tuple[Arguments, Path | None]:
    """Return the whole command line of a sweep that `sweep.resume=` goes on with, and its folder; else what was typed.

    Raises:
        ConfigError: There is no such sweep, it is of another verb, or what is typed beside it cannot be changed.
    """
    typed, _ = parse_overrides(
        [text for text in arguments.overrides if text.startswith(("sweep.resume=", "output_root="))]
    )
    name = plain_value(typed, "sweep.resume")
    if name is None:
        return arguments, None
    folder = (
        Path(name).expanduser()
        if name.startswith(("./", "/", "~", "../"))
        else Path(plain_value(typed, "output_root") or "outputs") / name
    )
    try:
        study = Study.open(folder)
    except CheckpointError as error:
        raise ConfigError(f"sweep.resume={name}: {error}; sweeps here: {_sweeps(folder.parent)}") from None
    facts = study.facts()
    study.close()
    if facts["verb"] != verb:
        raise ConfigError(f"sweep.resume={name}: this sweep was begun by: ptft {facts['verb']} -m ...; type that verb")
    changed = [text for text in arguments.overrides if not text.startswith("sweep.resume=")]
    for text in changed:
        if not text.lstrip("+").startswith(_CHANGED_ON_RESUME) or text.startswith(("sweep.seeds=", "sweep.space=")):
            raise ConfigError(
                f"{text}: a sweep that goes on keeps its settings; sweep.trials, parallel, timeout, budget, "
                "max_failures, retry and hydra/launcher may be others"
            )
    # What is typed now stands for what was typed of it before; Hydra takes an option of a group once.
    keys = {text.lstrip("+").partition("=")[0] for text in changed}
    argv = [*(text for text in facts["argv"] if text.lstrip("+").partition("=")[0] not in keys), *changed]
    return dataclasses.replace(parse_arguments(verb, argv), argv=tuple(argv)), folder


def check_alone(arguments: Arguments) -> None:
    """Refuse settings of a sweep where there is none.

    Raises:
        ConfigError: Some are given without `-m`.
    """
    for text in arguments.overrides:
        if not arguments.multirun and text.lstrip("+~").startswith(("sweep=", "sweep.", "hydra/sweeper=")):
            raise ConfigError(f"{text} is for a sweep: add -m, which runs one job for each of several values")


def with_our_plugins(arguments: Arguments) -> Arguments:
    """Return a sweep's command line with our sweeper where none is named, and our launcher beside one of ours."""
    if not arguments.multirun:
        return arguments
    sweeper = chosen(arguments, "sweeper")
    added = [f"hydra/sweeper={SWEEPER}"] if sweeper is None else []
    if chosen(arguments, "launcher") is None and (sweeper is None or sweeper in METHODS):
        added.append(f"hydra/launcher={LAUNCHER}")
    return dataclasses.replace(arguments, overrides=(*added, *arguments.overrides))


def chosen(arguments: Arguments, group: str) -> str | None:
    """Return the option that is typed of one of Hydra's groups, or None."""
    found = None
    for text in arguments.overrides:
        if text.startswith(f"hydra/{group}="):
            found = text.partition("=")[2].strip("'\"")
    return found


def with_space(overrides: Sequence[str], space: Sequence[str]) -> list[str]:
    """Return overrides with those of a preset before them, where the same key is not typed.

    Raises:
        ConfigError: An override of the preset cannot be read.
    """
    parser = OverridesParser.create()

    def key(text: str) -> str:
        return text.partition("=")[0].lstrip("+~")

    typed = {key(text) for text in overrides}
    for text in space:
        try:
            parser.parse_override(text)
        except Exception as error:
            raise ConfigError(f"sweep.space: `{text}` cannot be read: {str(error).splitlines()[0]}") from None
    return [*(text for text in space if key(text) not in typed), *overrides]


def orders_of(
    verb: str, arguments: Arguments, overrides: Sequence[str], config: Mapping[str, Any], settings: Mapping[str, Any],
    folder: Path, *, resumed: bool, own: bool, loader: Any = None,
) -> Orders:  # fmt: skip
    """Put together what our sweeper is told; makes room for a new sweep.

    Raises:
        ConfigError: The sweep is there already, or seeds are both searched and repeated.
    """
    typed = [text for text in overrides if not text.lstrip("+~").startswith(("hydra.", "hydra/", "sweep.", "sweep="))]
    space, fixed = read_space(typed, loader)
    if settings["seeds"] > 1:
        if verb not in _TRAINS:
            raise ConfigError(f"sweep.seeds: {verb} draws nothing at random; leave it at 1")
        if any(one.key == "engine.seed" for one in space.dimensions):
            raise ConfigError(
                "sweep.seeds repeats each point with seeds of its own: take engine.seed out of what is searched"
            )
    if own and not resumed:
        _make_room(folder, overwrite=bool(config.get("overwrite")))
    return Orders(
        verb=verb,
        argv=arguments.argv,
        folder=folder,
        settings=settings,
        space=space,
        fixed=tuple(fixed),
        seed=int((config.get("engine") or {}).get("seed") or 0),
        resumed=resumed,
        own=own,
    )


def _make_room(folder: Path, *, overwrite: bool) -> None:
    if not (folder / FILE).exists():
        return
    if not overwrite:
        raise ConfigError(
            f"name={folder.name}: {folder} holds a sweep; sweep.resume={folder.name} goes on with it, another name= "
            "starts beside it, overwrite=true replaces it"
        )
    try:
        files.Lock(folder).release()
    except CheckpointError as error:
        raise ConfigError(f"overwrite: {error}") from None
    files.remove(folder)


def _sweeps(root: Path) -> str:
    names = sorted(file.parent.name for file in root.glob(f"*/{FILE}"))
    return ", ".join(names[-8:]) or "none"
