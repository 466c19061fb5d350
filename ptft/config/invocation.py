"""What a command is told beside its config: how it was typed, what was found for it, where its run belongs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptft.runtime.find import Remote


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A further run of a comparison.

    Attributes:
        config: What `evaluate` would be told of this run alone.
        run: Its run directory.
    """

    config: dict[str, Any]
    run: Path


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One job of one command line.

    Attributes:
        verb: `pretrain`, `finetune`, `evaluate` or `predict`.
        argv: The whole command line as typed, from `ptft` on.
        overrides: The overrides of this job in Hydra's grammar, without those of Hydra itself.
        hydra: Hydra's own config as plain values, for the `.hydra/` snapshot.
        choices: The option taken of each config group (`model`: `vision/vgg`), where one was.
        trusted: Packages named with `--plugin`, whose classes a `_target_` may name.
        config_dir: The folder of `--config-dir`.
        job: Number of the job in a sweep; None when the command runs once.
        run: The run directory that `run=` names; of several, the first.
        compared: The others, which are compared with it.
        resume: The run directory that `resume=` (or `auto_resume=true`) continues.
        init_from: The run directory, file or folder that `init_from=` names, or weights that lie elsewhere.
        teacher: The run directory that `distil.teacher=` names; None for a resumed run that knows it.
    """

    verb: str
    argv: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    hydra: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    config_dir: Path | None = None
    job: int | None = None
    run: Path | None = None
    compared: tuple[Subject, ...] = ()
    resume: Path | None = None
    init_from: Path | Remote | None = None
    teacher: Path | None = None
