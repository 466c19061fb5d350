"""From orders to a sweep: the study, the method, the runner, what is shown and what is left behind."""

import importlib
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ptft.config.sweeping import Orders
from ptft.engine.console import Console
from ptft.engine.signals import terminable
from ptft.errors import TERMINATED, ConfigError, Interrupted, PtftError
from ptft.runtime import files
from ptft.sweep import report
from ptft.sweep.batches import Batches, Launch
from ptft.sweep.board import Board
from ptft.sweep.conductor import Conductor, Limits
from ptft.sweep.methods.asha import Asha
from ptft.sweep.methods.grid import Grid
from ptft.sweep.methods.method import Method
from ptft.sweep.methods.random import Random
from ptft.sweep.methods.tpe import Tpe
from ptft.sweep.outcome import Outcome, forget_outcome
from ptft.sweep.plots import write_plots
from ptft.sweep.processes import Processes, Trials, cuda_devices
from ptft.sweep.runner import Job, Runner
from ptft.sweep.space import Space
from ptft.sweep.study import Study
from ptft.sweep.trial import State, Trial

DEFAULT_TRIALS = 20
_LEAST = {"startup": 1, "reduction": 2, "rungs": 1}
"""The least that settings of methods may be."""
_LOOK = 0.5  # seconds between two looks at the clock while jobs run
METHODS: Mapping[str, type[Method]] = {"grid": Grid, "random": Random, "tpe": Tpe, "asha": Asha}


@dataclass(frozen=True)
class Hands:
    """What runs the trials of a sweep.

    Attributes:
        run: Runs a job in this process.
        request: What a process started afresh is told.
        processes: Settings of our launcher; None where another one launches.
        launch: That other launcher.
    """

    run: Callable[[Job], None]
    request: Callable[[Job], dict[str, Any]]
    processes: Mapping[str, Any] | None
    launch: Launch


def conduct(orders: Orders, method: str, settings: Mapping[str, Any], hands: Hands) -> dict[str, Any]:
    """Run a sweep to its end, show it, and leave its results in its folder.

    Args:
        orders: What was typed.
        method: `grid`, `random`, `tpe`, `asha`, or `auto`: a grid of what can be counted, else tpe.
        settings: Settings of the method.
        hands: What runs its trials.

    Returns:
        What `sweep.json` holds.

    Raises:
        Interrupted: A signal came; `sweep.resume=` goes on.
        ConfigError: The method does not fit the space.
        PtftError: No trial succeeded, or too many failed.
    """
    chosen = _method_of(orders, method, settings)
    orders.folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(orders), terminable():
            return _conduct(orders, _open(orders, chosen, settings), settings, hands)
    except Interrupted as error:
        raise Interrupted(f"{error}; go on with: {_resuming(orders)}", error.exit_code) from None


def _conduct(orders: Orders, study: Study, settings: Mapping[str, Any], hands: Hands) -> dict[str, Any]:
    method, asked = str(study.facts()["method"]), orders.settings
    total = _total(method, orders.space, asked["trials"])
    walked = make_method(method, orders.space, total, settings)
    kept = [text for text in orders.argv if not text.startswith("sweep.retry=")]  # asked for this time, not for all
    study.note(argv=kept, total=total, seeds=asked["seeds"], shares=list(walked.shares))
    if asked["retry"]:
        _retry(study)
    console = Console()
    console.say(
        f"sweep {orders.folder}: {method}, {total} points"
        + (f" of {asked['seeds']} seeds" if asked["seeds"] > 1 else "")
        + (f", {asked['parallel']} at once" if asked["parallel"] > 1 else "")
    )
    watcher = _Shown(orders, study, console)
    conductor = Conductor(
        study,
        walked,
        _runner(orders, hands),
        lambda trial: orders.overrides(trial, walked.shares[trial.rung]),
        seeds=asked["seeds"],
        limits=Limits(
            max_failures=asked["max_failures"],
            budget=None if asked["budget"] is None else 60 * asked["budget"],
        ),
        watcher=watcher,
    )
    try:
        conductor.run()
    finally:
        watcher.close()
        facts = _facts(orders, study)
        result: dict[str, Any] = report.write_sweep(facts, conductor.trials)
    _farewell(orders, facts, conductor.trials, console)
    if result["best"] is None:
        raise PtftError(f"no trial of {orders.folder} succeeded; {_first_reason(conductor.trials)}")
    return result


def launch_all(
    run: Callable[[Job], None], request: Callable[[Job], dict[str, Any]], orders: Orders,
    lines: Sequence[Sequence[str]], first: int, settings: Mapping[str, Any],
) -> list[Outcome]:  # fmt: skip
    """Run jobs that another sweeper asks for in processes of ours, and wait for all.

    Args:
        run: Runs a job in this process.
        request: What a process started afresh is told.
        orders: What was typed.
        lines: The overrides of each job.
        first: The number of the first.
        settings: Settings of our launcher.

    Raises:
        Interrupted: A job was asked to stop.
    """
    runner = _runner(orders, Hands(run, request, settings, _no_launch))
    waiting = [Job(first + number, tuple(line)) for number, line in enumerate(lines)]
    found: dict[int, Outcome] = {}
    while waiting or runner.busy:
        while waiting and runner.free > 0:
            forget_outcome(orders.folder / str(waiting[0].number))
            runner.start(waiting.pop(0))
        for ended in runner.wait(_LOOK):
            if ended.outcome is None:
                raise Interrupted("stopped by a signal", TERMINATED)
            found[ended.number] = ended.outcome
    return [found[number] for number in sorted(found)]


def _no_launch(_: Sequence[Sequence[str]], __: int) -> None:
    """Stand in for a launcher where processes are ours."""


def make_method(name: str, space: Space, trials: int, settings: Mapping[str, Any]) -> Method:
    """Build a method by its name."""
    own = {"tpe": ("startup",), "asha": ("reduction", "rungs")}.get(name, ())
    given = {key: settings[key] for key in own if settings.get(key) is not None}
    for key, value in given.items():
        if not isinstance(value, int) or value < _LEAST[key]:
            raise ConfigError(f"hydra.sweeper.{key}: takes a whole number >= {_LEAST[key]}, found {value}")
    return METHODS[name](space, trials, seed=int(settings.get("seed") or 0), **given)


def _method_of(orders: Orders, method: str, settings: Mapping[str, Any]) -> str:
    """Return the name of the method, of a resumed sweep the one it was begun with, before anything is made."""
    if orders.resumed:
        return method
    chosen = method if method != "auto" else "tpe" if orders.space.intervals else "grid"
    if not orders.space.dimensions and orders.settings["seeds"] == 1:
        raise ConfigError(
            "-m needs a setting with several values, as optimizer.lr=1e-3,1e-2; or sweep.seeds=3, for one point"
        )
    if chosen == "grid":
        orders.space.grid()  # refuses intervals
    if chosen == "asha":
        _check_asha(orders)
    make_method(chosen, orders.space, 1, settings)  # refuses its settings, before anything is made
    return chosen


def _open(orders: Orders, method: str, settings: Mapping[str, Any]) -> Study:
    if orders.resumed:
        return Study.open(orders.folder)
    facts = {"verb": orders.verb, "argv": list(orders.argv), "method": method, "settings": dict(settings)}
    return Study.create(orders.folder, {**facts, "objectives": []})


def _check_asha(orders: Orders) -> None:
    if orders.verb not in ("pretrain", "finetune"):
        raise ConfigError(f"hydra/sweeper=asha stops trainings early, and {orders.verb} is none; take random or tpe")
    if any(text.startswith("engine.stop_at=") for text in orders.fixed):
        raise ConfigError("hydra/sweeper=asha sets engine.stop_at itself: engine.max says how long a whole training is")


def _total(method: str, space: Space, asked: int | None) -> int:
    if method == "grid":
        there = int(space.size)
        return there if asked is None else min(asked, there)
    return int(min(asked or DEFAULT_TRIALS, space.size))


def _retry(study: Study) -> None:
    again = [trial for trial in study.trials() if trial.state == "failed"]
    for trial in again:
        trial.state = "waiting"
    study.save(again)


def _runner(orders: Orders, hands: Hands) -> Runner:
    parallel = int(orders.settings["parallel"])
    if hands.processes is None:
        return Batches(hands.launch, orders.folder, parallel=parallel)
    importlib.import_module(f"ptft.command.{orders.verb}")  # here once, for all forks
    timeout = orders.settings["timeout"]
    return Processes(
        Trials(orders.folder, hands.run, hands.request),
        parallel=parallel,
        timeout=None if timeout is None else 60 * timeout,
        start=hands.processes.get("start", "auto"),
        devices=cuda_devices(),
    )


def _facts(orders: Orders, study: Study) -> report.SweepFacts:
    facts = study.facts()
    return report.SweepFacts(
        name=orders.folder.name,
        verb=orders.verb,
        method=facts["method"],
        objectives=[(name, mode) for name, mode in facts["objectives"]],
        shares=tuple(facts["shares"]),
        total=facts["total"],
        seeds=facts["seeds"],
        base=list(orders.fixed),
        folder=orders.folder,
    )


class _Shown:
    """Shows what happens, and keeps sweep.json and trials.csv as they would be if it ended now."""

    def __init__(self, orders: Orders, study: Study, console: Console) -> None:
        self.orders = orders
        self.study = study
        self.board = Board(_facts(orders, study), console, parallel=int(orders.settings["parallel"]))
        self._before: list[tuple[State, int, int]] | None = None

    def update(self, trials: Sequence[Trial]) -> None:
        """Look at all trials; files are written when one has changed."""
        now = [(trial.state, trial.rung, trial.attempts) for trial in trials]
        if now != self._before:
            self._before = now
            self.board.facts = _facts(self.orders, self.study)
            report.write_sweep(self.board.facts, trials)
        self.board.update(trials, time.monotonic())

    def close(self) -> None:
        """Leave the last table on the screen."""
        self.board.close()


def _farewell(orders: Orders, facts: report.SweepFacts, trials: Sequence[Trial], console: Console) -> None:
    tables = (
        report.top_table(facts, trials),
        report.contrast_table(facts, trials, orders.space),
        report.failed_table(facts, trials),
    )
    for title, rows in tables:
        console.table(title, rows)
    written, messages = write_plots(facts, trials, orders.space)
    for message in messages:
        console.warn(message)
    point = report.best_point(facts, trials)
    if written:
        console.say(f"see   {orders.folder / 'report'}: {', '.join(written)}")
    console.say(f"sweep {orders.folder}: trials.csv, sweep.json")
    if point is not None:
        console.say(f"next  {report.reproduce(facts, point)}")
        if orders.verb in ("pretrain", "finetune"):
            console.say(f"      ptft evaluate run=best-of:{orders.folder.name}")


def _resuming(orders: Orders) -> str:
    root = [text for text in orders.fixed if text.startswith("output_root=")]
    return shlex.join(["ptft", orders.verb, "-m", f"sweep.resume={orders.folder.name}", *root])


def _first_reason(trials: Sequence[Trial]) -> str:
    reasons = [trial.reason for trial in trials if trial.reason]
    return f"the first failed by: {reasons[0]}" if reasons else "none was run"


@contextmanager
def _held(orders: Orders) -> Iterator[None]:
    """Keep the sweep for this process alone."""
    lock = files.Lock(orders.folder)
    try:
        yield
    finally:
        lock.release()
