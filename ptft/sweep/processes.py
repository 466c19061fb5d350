"""A process for each trial: forked from one that has imported everything and run nothing, or started afresh.

What a trial leaves in memory goes with its process; what kills it kills nothing else. Where CUDA or Metal may be used a
fork would inherit a device that cannot be shared, so processes are started afresh there. All of them end when the sweep
does, however it ends.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ptft.errors import FAILED, INTERRUPTED, TERMINATED, Interrupted
from ptft.runtime.threads import cores
from ptft.sweep.outcome import Outcome, read_outcome
from ptft.sweep.runner import Ended, Job

LOGS = "logs"
"""The folder of a sweep for what its trials print: `logs/7.txt`."""
_POLL = 0.02  # seconds between looks at the processes
_GRACE = 20.0  # seconds that a process has to stop, with a checkpoint, before it is killed
_TAIL = 2000  # characters of what a killed trial printed that are kept with its reason


@dataclass(frozen=True)
class Trials:
    """How the jobs of a sweep are run in other processes.

    Attributes:
        folder: The folder of the sweep.
        run: Runs a job here, to its end, and leaves `trial.json`.
        request: What a process started afresh is told: plain values, JSON.
    """

    folder: Path
    run: Callable[[Job], None]
    request: Callable[[Job], dict[str, Any]]


@dataclass
class _Running:
    job: Job
    process: int
    started: float
    device: str | None
    modules: IO[str] | None
    asked: float | None = None
    late: bool = False


class Processes:
    """Runs jobs in processes, `parallel` of them at once."""

    def __init__(
        self,
        trials: Trials,
        *,
        parallel: int,
        timeout: float | None = None,
        start: Literal["auto", "fork", "spawn"] = "auto",
        devices: Sequence[str] = (),
    ) -> None:
        """Set how many there are.

        Args:
            trials: How jobs are run.
            parallel: How many run at once.
            timeout: Seconds that a trial may take; None: as long as it likes.
            start: fork: from this process; spawn: afresh; auto: fork unless there is CUDA or this is a Mac.
            devices: Names of the CUDA devices there are; each trial is leased one.
        """
        self.trials = trials
        self.parallel = parallel
        self.timeout = timeout
        self.forks = start == "fork" or (start == "auto" and not devices and sys.platform != "darwin")
        self._devices = list(devices)
        self._running: dict[int, _Running] = {}
        self._stopping = False
        self._learnt = 0
        self._frozen = False
        # Its writing end is open here alone: when this process dies, those who read it are told.
        self._lifeline = os.pipe()

    @property
    def free(self) -> int:
        """How many jobs can be started now."""
        return self.parallel - len(self._running)

    @property
    def busy(self) -> list[int]:
        """The numbers of the jobs that run."""
        return list(self._running)

    def start(self, job: Job) -> None:
        """Start a job in a process of its own."""
        log = self.trials.folder / LOGS / f"{job.number}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        taken = [one.device for one in self._running.values()]
        device = min(self._devices, key=taken.count) if self._devices else None
        threads = max(1, cores() // self.parallel) if self.parallel > 1 else None
        # The first ones tell what they imported, and the others find it there.
        modules = tempfile.TemporaryFile("w+") if self.forks and self._learnt < self.parallel else None  # noqa: SIM115
        self._learnt += modules is not None
        process = self._fork(job, log, threads, modules) if self.forks else self._spawn(job, log, threads, device)
        self._running[job.number] = _Running(job, process, time.monotonic(), device, modules)

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for at most so long until a job ends; returns those that have."""
        deadline = time.monotonic() + seconds
        while True:
            ended = [one for running in list(self._running.values()) if (one := self._look_at(running)) is not None]
            if ended or time.monotonic() >= deadline:
                return ended
            time.sleep(min(_POLL, max(0.0, deadline - time.monotonic())))

    def stop(self, *, kill: bool = False) -> None:
        """Ask all jobs to stop, so that they can go on later; or end them at once."""
        self._stopping = True
        for running in self._running.values():
            self._signal(running, signal.SIGKILL if kill else signal.SIGTERM)

    # Starting

    def _fork(self, job: Job, log: Path, threads: int | None, modules: IO[str] | None) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        if not self._frozen:
            gc.collect()
            gc.freeze()  # what is here stays shared memory: collecting garbage in a child would copy it
            self._frozen = True
        process = os.fork()
        if process:
            return process
        code = FAILED
        try:
            os.close(self._lifeline[1])
            _settle(log, self._lifeline[0])
            if threads is not None:
                _use_threads(threads)
            before = set(sys.modules)
            self.trials.run(job)
            if modules is not None:
                json.dump([name for name in sys.modules if name not in before], modules)
                modules.flush()
            code = 0
        except Interrupted as error:
            code = error.exit_code
        except KeyboardInterrupt:
            code = INTERRUPTED
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _spawn(self, job: Job, log: Path, threads: int | None, device: str | None) -> int:
        surroundings = dict(os.environ)
        if threads is not None:
            surroundings["OMP_NUM_THREADS"] = str(threads)
        if device is not None:
            surroundings["CUDA_VISIBLE_DEVICES"] = device
        request = {**self.trials.request(job), "lifeline": self._lifeline[0]}
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "ptft", "--trial"], stdin=subprocess.PIPE, stdout=file, stderr=file,
                env=surroundings, pass_fds=[self._lifeline[0]], process_group=0,
            )  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(json.dumps(request).encode())
        process.returncode = 0  # it is waited for here, by its number
        return process.pid

    # Ending

    def _look_at(self, running: _Running) -> Ended | None:
        process, status = os.waitpid(running.process, os.WNOHANG)
        now = time.monotonic()
        if process == 0:
            if self.timeout is not None and running.asked is None and now - running.started > self.timeout:
                running.late = True
                self._signal(running, signal.SIGTERM)
            elif running.asked is not None and now - running.asked > _GRACE:
                self._signal(running, signal.SIGKILL)
            return None
        del self._running[running.job.number]
        self._learn(running)
        code = os.waitstatus_to_exitcode(status)
        return Ended(running.job.number, self._outcome(running, code), now - running.started)

    def _outcome(self, running: _Running, code: int) -> Outcome | None:
        """Return how a job ended, given the exit code of its process, negative for a signal."""
        number = running.job.number
        found = read_outcome(self.trials.folder / str(number))
        if found is not None:
            return found
        if running.late:
            assert self.timeout is not None
            return self._failed(number, f"timeout after {self.timeout / 60:g} minutes")
        if self._stopping and (code in (INTERRUPTED, TERMINATED) or code < 0):
            return None
        if code == -signal.SIGKILL:
            return self._failed(number, "killed by SIGKILL (so the system does when memory runs out)")
        if code < 0:
            return self._failed(number, f"killed by {signal.Signals(-code).name}")
        if code in (INTERRUPTED, TERMINATED):
            return self._failed(number, "stopped by a signal from elsewhere")
        return self._failed(number, f"exit code {code}")

    def _failed(self, number: int, reason: str) -> Outcome:
        """Return the outcome of a trial that could not tell itself, and leave it in its folder."""
        try:
            said = (self.trials.folder / LOGS / f"{number}.txt").read_text(errors="replace")[-_TAIL:]
        except OSError:
            said = ""
        outcome = Outcome(state="failed", reason=reason, error=said)
        outcome.write(self.trials.folder / str(number))
        return outcome

    def _signal(self, running: _Running, number: int) -> None:
        running.asked = running.asked or time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.process, number)

    def _learn(self, running: _Running) -> None:
        """Import what a trial imported, so that later ones find it there."""
        if running.modules is None:
            return
        self._frozen = False
        with running.modules as file, contextlib.suppress(ValueError):
            file.seek(0)
            for name in json.load(file):
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


def watch(lifeline: int) -> None:
    """End this process when the one that started it has died."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        os._exit(TERMINATED)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()


def cuda_devices() -> list[str]:
    """Return the names of the CUDA devices that this process may use."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = torch.cuda.device_count()
    return [name.strip() for name in named.split(",")][:there] if named else [str(number) for number in range(there)]


def _settle(log: Path, lifeline: int) -> None:
    """Make a forked process one of its own: output in a file, signals as they were, its end with its parent's."""
    os.setpgid(0, 0)  # Ctrl-C reaches the sweep, which asks its trials to stop
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    watch(lifeline)


def _use_threads(threads: int) -> None:
    """Share the cores among trials."""
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)  # for processes that the trial starts
    torch.set_num_threads(threads)
