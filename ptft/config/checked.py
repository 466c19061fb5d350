"""A job that may run; and `ptft evaluate run=a,b`, where each run is checked as if it were evaluated alone.

Each of them starts from its own saved config, so what is refused of one need not be refused of the other.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptft.config.arguments import quoted
from ptft.config.invocation import Subject
from ptft.config.place import Renamer
from ptft.config.problems import COMMAND_LINE, Problem, ProblemsError, as_error
from ptft.runtime.find import Remote


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One job that may run.

    Attributes:
        config: The config: plain values, resolved, complete, checked.
        choices: The option taken of each group.
        root: Name of the root config it was composed from.
        run: The run that `run=` names.
        compared: Further runs that it names.
        resume: The run that is gone on with.
        init_from: Where initial weights come from; those that lie elsewhere are only named.
        teacher: The run that `distil.teacher=` names.
        sweep: The keys of `sweep`, which are no part of a run's config.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    root: str
    run: Path | None = None
    compared: tuple[Subject, ...] = ()
    resume: Path | None = None
    init_from: Path | Remote | None = None
    teacher: Path | None = None
    sweep: dict[str, Any] = field(default_factory=dict)


def check_each(
    check: Callable[[Sequence[str], Renamer | None], Checked],
    texts: Sequence[str],
    runs: Sequence[str],
    rename: Renamer | None,
) -> Checked:
    """Check the same overrides for each of several runs; return the job of the first with the others beside it.

    Args:
        check: Checks a job of one run.
        texts: The overrides, `run=[a,b]` among them.
        runs: What that names.
        rename: Sets where the evaluation belongs.

    Raises:
        ConfigError: Some of them must not run, there are fewer than two, or one is named twice.
    """
    if len(runs) < 2:
        text = "compares two or more runs, as run=a,b; a single one is named without brackets, as run=a"
        raise as_error("evaluate", [Problem(f"run=[{','.join(runs)}]", text, COMMAND_LINE)])

    def named(config: dict[str, Any], choices: dict[str, str]) -> None:
        config["run"] = list(runs)
        if rename is not None:
            rename(config, choices)

    rest = [text for text in texts if not text.startswith("run=")]
    jobs: list[Checked] = []
    problems: list[Problem] = []
    for number, run in enumerate(runs):
        try:
            jobs.append(check([*rest, f"run={quoted(run)}"], None if number else named))
        except ProblemsError as error:
            problems += error.problems
    found = [job.run.resolve() for job in jobs if job.run is not None]
    if not problems and len(set(found)) < len(runs):
        twice = next(path for path in found if found.count(path) > 1)
        problems.append(Problem(f"run={','.join(runs)}", f"names {twice} twice; name different runs", COMMAND_LINE))
    if problems:
        raise as_error("evaluate", problems)
    others = tuple(Subject(config=job.config, run=job.run) for job in jobs[1:] if job.run is not None)
    return dataclasses.replace(jobs[0], compared=others)
