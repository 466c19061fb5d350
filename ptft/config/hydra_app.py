"""From a command line to running commands: check everything, then let Hydra run each job.

`hydra.main` reads `sys.argv` and calls one function a job, here or in a launcher's process. With HYDRA_FULL_ERROR=1 it
raises what went wrong, and we tell it.
"""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
from ptft.config.sweeping import METHODS, Orders, check_alone, chosen, orders_of, take_up, with_our_plugins, with_space
from ptft.config.tree import Tree, builtin_tree, use_tree
from ptft.errors import FAILED, Interrupted, PtftError
from ptft.sweep.outcome import done, failed
from ptft.sweep.runner import Job
from ptft.sweep.trial import Measured

Command = Callable[[dict[str, Any], Invocation], Any]
"""What a verb does with a checked config; returns what a sweep compares, a list of `Measured`; `predict` nothing."""
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
    arguments, resumed = take_up(parse_arguments(verb, argv), verb)
    check_alone(arguments)
    tree = Tree(arguments.config_dir)
    use_tree(tree)
    forbid_environment()
    door = Door(verb, arguments.root, tree, arguments.plugins)
    if arguments.shows:
        _show(door, arguments)
        return
    place = Place(verb, arguments, resumed)
    if not (place.named_by_job or place.sweep_subdir):
        arguments = with_our_plugins(arguments)
    first, orders = _check_all(door, arguments, place)
    known = None if arguments.multirun else first
    _run_jobs(_Jobs(door, arguments, place, command, tell, orders, known), first.root)


def run_trial(request: Mapping[str, Any], command: Command) -> None:
    """Run one trial of a sweep in a process of its own, started afresh.

    Args:
        request: What `_Jobs.request` returned.
        command: What a job does.

    Raises:
        Interrupted: A signal asked it to stop.
    """
    verb = str(request["verb"])
    arguments = parse_arguments(verb, request["argv"])
    tree = Tree(arguments.config_dir)
    use_tree(tree)
    place = Place(verb, arguments, Path(request["folder"]))
    jobs = _Jobs(Door(verb, arguments.root, tree, arguments.plugins), arguments, place, command, print)
    with _hydra():
        jobs.trial(Job(int(request["number"]), tuple(request["overrides"])))


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


def _check_all(door: Door, arguments: Arguments, place: Place) -> tuple[Checked, Orders | None]:
    """Check every job that is known before the first one runs.

    Returns:
        The first of them, and what our sweeper and launcher are told.

    Raises:
        ConfigError: Some job must not run; the problems of all are told.
    """
    if not arguments.multirun:
        return _check_each(door, [list(arguments.overrides)], place, multirun=False), None
    texts = list(arguments.overrides)
    with _hydra():
        loader = GlobalHydra.instance().config_loader()  # which knows the options that glob(...) means
    first = _check_each(door, variants(texts, loader), place, multirun=True)
    if place.named_by_job or place.sweep_subdir:
        return first, None  # folders that the user names: Hydra's own sweep
    own = chosen(arguments, "sweeper") in METHODS
    if first.sweep["space"]:
        texts = with_space(texts, first.sweep["space"])
        first = _check_each(door, variants(texts, loader), place, multirun=True)
    assert place.sweep_dir is not None, "the renamer of a job sets it"
    folder = Path(place.sweep_dir)
    orders = orders_of(
        door.verb, arguments, texts, first.config, first.sweep, folder, resumed=place.resumed, own=own, loader=loader
    )
    place.ours = True
    return first, orders


def _check_each(door: Door, jobs: Sequence[Sequence[str]], place: Place, *, multirun: bool) -> Checked:
    """Check jobs and return the first; the problems of all are told."""
    checked: list[Checked] = []
    problems: list[Problem] = []
    with _hydra():
        for number, job in enumerate(jobs):
            try:
                checked.append(door.check(job, place.renamer(number if multirun else None, probing=True)))
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
        orders: What our sweeper and launcher are told; None where the user names the folders, or nothing is swept.
        known: The one job, checked; of a sweep None, as each is checked again when its turn comes.
        failed: What failed in this process, by job.
    """

    door: Door
    arguments: Arguments
    place: Place
    command: Command
    tell: Callable[[str], None]
    orders: Orders | None = None
    known: Checked | None = None
    failed: dict[int, BaseException] = field(default_factory=dict)

    def run(self, _: DictConfig) -> Any:
        """Run one job; Hydra's config only says which overrides it has, as saved runs differ from job to job."""
        forbid_environment()
        use_tree(self.door.tree)
        settings = HydraConfig.get()
        job = int(settings.job.num) if self.arguments.multirun else None
        if self.orders is not None and self.orders.own:
            job = int(settings.sweep.subdir)  # trials of a batch need not have numbers that follow each other
        listed: Any = OmegaConf.to_container(settings.overrides.task, resolve=False)  # as typed, references too
        overrides = [str(text) for text in listed]
        try:
            folder = self.place.take_over(settings.runtime.output_dir, always=self.orders is not None)
            return _for_hydra(self._do(overrides, job, folder))
        except Interrupted as error:
            raise StoppedError(error) from None
        except Exception as error:
            if job is not None and self.orders is not None and self.orders.own:
                raise  # our sweeper has it from `trial.json`, and goes on
            self.failed[job or 0] = error
            if job is None:
                return None  # raised again once Hydra is left, which would add lines of its own
            text = str(error) if isinstance(error, PtftError) else traceback.format_exc()
            self.tell(f"job {job} failed ({' '.join(overrides)}): {text}")
            raise

    def trial(self, job: Job) -> None:
        """Run one trial of our sweeper here; how it ended stands in its folder.

        Raises:
            Interrupted: A signal asked it to stop.
        """
        try:
            self._do(job.overrides, job.number, None)
        except Interrupted:
            raise
        except Exception as error:  # `trial.json` tells the sweep; this is for who reads what the trial printed
            self.tell(str(error) if isinstance(error, PtftError) else traceback.format_exc())

    def request(self, job: Job) -> dict[str, Any]:
        """Return what a process started afresh is told to run a trial, see `run_trial`."""
        assert self.orders is not None, "our launcher numbers its folders"
        folder = str(self.orders.folder)
        own = {"number": job.number, "overrides": list(job.overrides)}
        return {"verb": self.door.verb, "argv": list(self.orders.argv), "folder": folder, **own}

    def _do(self, overrides: Sequence[str], job: int | None, folder: Path | None) -> list[Measured]:
        """Check one job again and run it; of a trial, leave word of how it ended."""
        ours = Path(str(self.place.sweep_dir)) / str(job) if job is not None and self.place.ours else None
        try:
            checked = self.known or self.door.check(overrides, self.place.renamer(job, folder))
            measured: list[Measured] = self.command(checked.config, self._invocation(checked, overrides, job))
        except Interrupted:
            raise
        except Exception as error:
            if ours is not None:
                failed(error).write(ours)
            raise
        if ours is not None:
            done(measured or ()).write(ours)
        return measured

    def _invocation(self, checked: Checked, overrides: Sequence[str], job: int | None) -> Invocation:
        snapshot = OmegaConf.to_container(HydraConfig.get(), resolve=False, enum_to_str=True)
        assert isinstance(snapshot, dict)
        return Invocation(
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


def _for_hydra(measured: list[Measured] | None) -> float | list[float] | None:
    """Return what other sweepers compare: a number, or several."""
    values = [one.value for one in measured or ()]
    return None if measured is None else values[0] if len(values) == 1 else values


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

    task.jobs = jobs  # type: ignore[attr-defined]  # our sweeper and launcher, which Hydra hands the function to, ask it
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
