"""From a command line to running commands: check everything, then let Hydra run each job.

`hydra.main` reads `sys.argv` and calls one function a job, here or in a launcher's process. With HYDRA_FULL_ERROR=1 it
raises what went wrong, and we tell it.
"""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ptft.config.arguments import Arguments, parse_arguments, variants
from ptft.config.checked import Checked
from ptft.config.door import Door
from ptft.config.interpolation import forbid_environment
from ptft.config.invocation import Invocation
from ptft.config.place import Place
from ptft.config.problems import Problem, ProblemsError, as_error
from ptft.config.tree import Tree, builtin_tree, use_tree
from ptft.errors import FAILED, Interrupted, PtftError

Command = Callable[[dict[str, Any], Invocation], Any]
"""What a verb does with a checked config; returns the objective, for sweepers."""
_VERSION_BASE = "1.3"
QUIET = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")
"""Keeps Hydra from writing anything: ptft makes the run directory itself, once all is valid."""


def launch(verb: str, argv: Sequence[str], command: Command, tell: Callable[[str], None] = print) -> None:
    """Check a command line and run what it asks for.

    Args:
        verb: `pretrain`, `finetune`, `evaluate` or `predict`, also the name of the root config.
        argv: What was typed after the verb.
        command: Called once a job, with a checked config.
        tell: Tells a person about a job of a sweep that failed, while the others go on.

    Raises:
        PtftError: The command line is refused, or the command failed.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"
    arguments = parse_arguments(verb, argv)
    tree = Tree(arguments.config_dir)
    use_tree(tree)
    forbid_environment()
    door = Door(verb, arguments.root, tree, arguments.plugins)
    if arguments.shows:
        _show(door, arguments)
        return
    place = Place(verb, arguments)
    first = _check_all(door, arguments, place)
    _run_jobs(_Jobs(door, arguments, place, command, tell), first.root)


def _show(door: Door, arguments: Arguments) -> None:
    """Let Hydra print what was asked for (`--cfg`, `--info`, `--hydra-help`), after checking that it composes."""
    logging.raiseExceptions = False  # Hydra logs what it shows: no traceback for each line after `--info | head`
    root = arguments.root
    if "--hydra-help" not in arguments.flags:
        with _hydra():
            root = door.compose(arguments.overrides)
    _run_hydra(root, arguments, QUIET, _nothing)


def _nothing(_: DictConfig) -> None:
    """Stand in for a job where none runs."""


def _check_all(door: Door, arguments: Arguments, place: "Place") -> Checked:
    """Check every job that is known before the first one runs; returns the first.

    Raises:
        ConfigError: Some job must not run; the problems of all are told.
    """
    checked: list[Checked] = []
    problems: list[Problem] = []
    jobs = variants(arguments.overrides) if arguments.multirun else [list(arguments.overrides)]
    with _hydra():
        for number, job in enumerate(jobs):
            try:
                checked.append(door.check(job, place.renamer(number if arguments.multirun else None)))
            except ProblemsError as error:
                problems += error.problems
    if problems:
        raise as_error(door.verb, problems)
    return checked[0]


@dataclass
class _Jobs:
    """Runs the jobs of one command line, here or (unpickled) in a launcher's process.

    Attributes:
        door: Checks each job again: a sweeper may have made up values.
        arguments: The command line.
        place: Where runs belong.
        command: What a job does.
        tell: Tells about failed jobs of a sweep.
        failed: What failed in this process, by job.
    """

    door: Door
    arguments: Arguments
    place: Place
    command: Command
    tell: Callable[[str], None]
    failed: dict[int, BaseException] = field(default_factory=dict)

    def run(self, _: DictConfig) -> Any:
        """Run one job; Hydra's config only says which overrides it has, as saved runs differ from job to job."""
        forbid_environment()
        use_tree(self.door.tree)
        settings = HydraConfig.get()
        job = int(settings.job.num) if self.arguments.multirun else None
        listed: Any = OmegaConf.to_container(settings.overrides.task, resolve=False)  # as typed, references too
        overrides = [str(text) for text in listed]
        try:
            folder = self.place.take_over(settings.runtime.output_dir)
            checked = self.door.check(overrides, self.place.renamer(job, folder))
            snapshot = OmegaConf.to_container(settings, resolve=False, enum_to_str=True)
            assert isinstance(snapshot, dict)
            invocation = Invocation(
                verb=self.door.verb,
                argv=("ptft", self.door.verb, *self.arguments.argv),
                overrides=tuple(overrides),
                hydra={str(key): value for key, value in snapshot.items()},
                choices=checked.choices,
                trusted=tuple(self.door.trusted),
                config_dir=self.door.tree.user,
                job=job,
                run=checked.run,
                compared=checked.compared,
                resume=checked.resume,
                init_from=checked.init_from,
                teacher=checked.teacher,
            )
            return self.command(checked.config, invocation)
        except Interrupted as error:
            raise StoppedError(error) from None
        except Exception as error:
            self.failed[job or 0] = error
            if job is None:
                return None  # raised again once Hydra is left, which would add lines of its own
            text = str(error) if isinstance(error, PtftError) else traceback.format_exc()
            self.tell(f"job {job} failed ({' '.join(overrides)}): {text}")
            raise


class StoppedError(BaseException):
    """Carries an interruption through Hydra, where any other exception ends only one job of a sweep."""

    def __init__(self, cause: Interrupted) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _run_jobs(jobs: _Jobs, root: str) -> None:
    """Run all jobs.

    Raises:
        PtftError: A job failed or was interrupted.
    """

    def task(config: DictConfig) -> Any:  # a closure, as launchers in other processes take it along by value
        return jobs.run(config)

    try:
        _run_hydra(root, jobs.arguments, jobs.place.overrides(QUIET), task)
    except StoppedError as stopped:
        raise stopped.cause from None
    except Exception as error:
        if not jobs.failed or not jobs.arguments.multirun:
            raise
        numbers = ", ".join(map(str, jobs.failed))
        summary = PtftError(f"{len(jobs.failed)} jobs of the sweep failed: {numbers} (see above)")
        summary.exit_code = getattr(error, "exit_code", FAILED) if len(jobs.failed) == 1 else FAILED
        raise summary from None
    if jobs.failed:
        raise jobs.failed[0]


def _run_hydra(root: str, arguments: Arguments, extra: Sequence[str], task: Callable[[DictConfig], Any]) -> None:
    """Call `hydra.main` with the command line it reads from `sys.argv`."""
    own = [text for text in arguments.overrides if not text.startswith(("hydra.run.dir=", "hydra.sweep.dir="))]
    before = sys.argv
    sys.argv = ["ptft", *arguments.flags, *own, *extra]
    try:
        hydra.main(version_base=_VERSION_BASE, config_path=str(builtin_tree()), config_name=root)(task)()
    finally:
        sys.argv = before


@contextlib.contextmanager
def _hydra() -> Iterator[None]:
    """Initialise Hydra for composing alone."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base=_VERSION_BASE, config_dir=str(builtin_tree()), job_name="ptft"):
        yield
