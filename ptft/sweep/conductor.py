"""The loop of a sweep: ask the method, start trials, write down how they end; whatever happens, nothing is lost.

study      waiting -> running -> done | failed          (a killed sweep: running -> waiting, or what trial.json says)
method     history -> the next point, or a point that goes on to its next rung
runner     starts jobs, tells which have ended
"""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from ptft.errors import INTERRUPTED, TERMINATED, CheckpointError, Interrupted, PtftError
from ptft.runtime import files
from ptft.sweep.methods.method import Method
from ptft.sweep.outcome import Outcome, forget_outcome, read_outcome
from ptft.sweep.runner import Ended, Job, Runner
from ptft.sweep.study import Study
from ptft.sweep.trial import History, Trial, history_of

_LOOK = 0.5  # seconds between two looks at the clock while trials run
_RELEASE = 10.0  # seconds that a process of a killed sweep may take to let go of its folder


class Watcher(Protocol):
    """Is shown all trials whenever something has changed, and now and then."""

    def update(self, trials: Sequence[Trial]) -> None:
        """Look at all trials."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a sweep ends before its method does.

    Attributes:
        max_failures: More failed trials end it; None: any number is borne.
        budget: Seconds after which no trial is started; None: all are.
    """

    max_failures: int | None = None
    budget: float | None = None


class Conductor:
    """Runs one sweep from where its study stands to its end."""

    def __init__(
        self,
        study: Study,
        method: Method,
        runner: Runner,
        overrides_of: Callable[[Trial], tuple[str, ...]],
        *,
        seeds: int = 1,
        limits: Limits,
        watcher: Watcher,
    ) -> None:
        """Put a sweep together.

        Args:
            study: Its state.
            method: Chooses points.
            runner: Runs trials.
            overrides_of: What is typed for a trial that is about to start.
            seeds: How many trials a point has.
            limits: When it ends early.
            watcher: Is shown what happens.
        """
        self.study = study
        self.method = method
        self.runner = runner
        self.overrides_of = overrides_of
        self.seeds = seeds
        self.limits = limits
        self.watcher = watcher
        self.trials = study.trials()
        self._signal: signal.Signals | None = None

    @property
    def history(self) -> History:
        """All that is known."""
        return history_of(self.trials, [mode for _, mode in self.study.facts().get("objectives") or ()])

    @property
    def failures(self) -> int:
        """How many trials failed."""
        return sum(trial.state == "failed" for trial in self.trials)

    def run(self) -> None:
        """Run the sweep to its end.

        Raises:
            Interrupted: A signal came; trials that ran can go on.
            PtftError: More trials failed than may.
        """
        began = time.monotonic()
        self.recover()
        with self._listening():
            while True:
                within = self.limits.budget is None or time.monotonic() - began < self.limits.budget
                if within and self._signal is None and not self._too_many():
                    self._fill()
                self.watcher.update(self.trials)
                if not self.runner.busy:
                    break
                for ended in self.runner.wait(_LOOK):
                    self.record(ended)
                if self._too_many():
                    self.runner.stop()
        if self._signal is not None:
            code = INTERRUPTED if self._signal == signal.SIGINT else TERMINATED
            raise Interrupted(f"stopped by {self._signal.name}", code)
        if self._too_many():
            most = self.limits.max_failures
            raise PtftError(f"{self.failures} trials failed, more than sweep.max_failures={most}: the sweep ends")

    def recover(self) -> None:
        """Find out what became of trials that ran when the sweep was killed: they have ended, or wait to go on."""
        for trial in self.trials:
            if trial.state != "running":
                continue
            folder = self.folder(trial)
            _wait_for(folder)
            outcome = read_outcome(folder)
            if outcome is not None:
                self._take(trial, outcome, 0.0)
            else:
                trial.state = "waiting"
                self.study.save([trial])

    def folder(self, trial: Trial) -> Path:
        """Return the folder of a trial."""
        return self.study.path.parent / str(trial.number)

    def record(self, ended: Ended) -> None:
        """Write down how a job ended."""
        trial = self.trials[ended.number]
        if ended.outcome is None:
            trial.state = "waiting"
            trial.seconds += ended.seconds
            self.study.save([trial])
        else:
            self._take(trial, ended.outcome, ended.seconds)

    def _take(self, trial: Trial, outcome: Outcome, seconds: float) -> None:
        trial.seconds += seconds
        values = tuple(one.value for one in outcome.measured)
        if outcome.state == "done" and not (values and all(map(math.isfinite, values))):
            trial.state, trial.reason = "failed", "the objective is not a finite number"
            trial.error = f"it is {', '.join(map(str, values)) or 'missing'}"
        elif outcome.state == "done":
            trial.state, trial.reason, trial.error = "done", None, None
            trial.values[trial.rung] = values
            if not self.study.facts().get("objectives"):
                self.study.note(objectives=[[one.name, one.mode] for one in outcome.measured])
        else:
            trial.state, trial.reason, trial.error = "failed", outcome.reason, outcome.error
        self.study.save([trial])

    # What to run next

    def _fill(self) -> None:
        """Start trials while there is room, those that wait first."""
        while self.runner.free > 0 and (trial := self._next()) is not None:
            overrides = self.overrides_of(trial)
            forget_outcome(self.folder(trial))  # from here on one that is found is of this attempt
            trial.state, trial.attempts = "running", trial.attempts + 1
            self.study.save([trial])  # before it runs: a sweep killed in between finds nothing done, and runs it
            self.runner.start(Job(trial.number, overrides))

    def _next(self) -> Trial | None:
        waiting = next((trial for trial in self.trials if trial.state == "waiting"), None)
        if waiting is not None:
            return waiting
        history = self.history
        step = self.method.next(history)
        if step is None:
            return None
        if step.point < len(history.points):
            own = [trial for trial in history.points[step.point].trials if trial.state == "done"]
            for trial in own:
                trial.rung, trial.state = step.rung, "waiting"
        else:
            first = len(self.trials)
            own = [
                Trial(number=first + seed, point=step.point, seed=seed, params=dict(step.params), rung=step.rung)
                for seed in range(self.seeds)
            ]
            self.trials += own
        self.study.save(own)
        return own[0]

    def _too_many(self) -> bool:
        return self.limits.max_failures is not None and self.failures > self.limits.max_failures

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Let the first signal ask all trials to stop, and a second one end them."""

        def receive(number: int, _: FrameType | None) -> None:
            self.runner.stop(kill=self._signal is not None)
            self._signal = self._signal or signal.Signals(number)

        before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _wait_for(folder: Path) -> None:
    """Wait until no process holds a folder: one that outlived its sweep by a moment.

    Raises:
        CheckpointError: It is still held after a while.
    """
    if not folder.is_dir():
        return
    deadline = time.monotonic() + _RELEASE
    while True:
        try:
            files.Lock(folder).release()
            return
        except CheckpointError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
