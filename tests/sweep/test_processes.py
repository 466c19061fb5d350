"""A process for each trial: apart from the others, ended with the sweep, known by what it says or how it dies."""

import os
import signal
import sys
import time

import pytest
import torch

from ptft.errors import Interrupted
from ptft.runtime.threads import cores
from ptft.sweep.outcome import done
from ptft.sweep.processes import Processes, Trials, cuda_devices
from ptft.sweep.runner import Job
from ptft.sweep.trial import Measured


def run_all(folder, run, numbers, **settings):
    """Run jobs to their end; returns how they ended, by number."""
    runner = Processes(Trials(folder, run, lambda job: {}), **{"parallel": 2, "start": "fork", **settings})
    waiting, found = list(numbers), {}
    while waiting or runner.busy:
        while waiting and runner.free:
            runner.start(Job(waiting.pop(0), ()))
        found |= {ended.number: ended for ended in runner.wait(0.5)}
    return found


def started(folder, run):
    """Start a job and wait until it says that it is ready."""
    runner = Processes(Trials(folder, run, lambda job: {}), parallel=1, start="fork")
    runner.start(Job(0, ()))
    while not (folder / "ready").exists():
        time.sleep(0.01)
    return runner


def say(folder, number, value=1.0):
    done([Measured("val/accuracy", "max", value)]).write(folder / str(number))


def test_what_a_trial_leaves_in_memory_goes_with_it(tmp_path):
    heap = []

    def run(job):
        heap.append(bytearray(10_000_000))
        say(tmp_path, job.number, len(heap))

    found = run_all(tmp_path, run, range(5))
    assert [found[number].outcome.measured[0].value for number in range(5)] == [1.0] * 5 and heap == []


def test_a_process_that_dies_is_told_by_how_it_died(tmp_path):
    def run(job):
        print("about to die", flush=True)
        match job.number:
            case 0:
                os.kill(os.getpid(), signal.SIGKILL)
            case 1:
                os.kill(os.getpid(), signal.SIGSEGV)
            case 2:
                os._exit(7)
            case 3:
                raise RuntimeError("a bug of ours")

    found = run_all(tmp_path, run, range(4))
    reasons = [found[number].outcome.reason for number in range(4)]
    assert reasons == [
        "killed by SIGKILL (so the system does when memory runs out)",
        "killed by SIGSEGV",
        "exit code 7",
        "exit code 1",
    ]
    assert found[0].outcome.error == "about to die\n" and "a bug of ours" in found[3].outcome.error
    assert (tmp_path / "logs" / "0.txt").read_text() == "about to die\n"


def test_one_that_has_said_how_it_ended_is_believed_even_if_it_dies_then(tmp_path):
    def run(job):
        say(tmp_path, job.number)
        os.kill(os.getpid(), signal.SIGKILL)

    assert run_all(tmp_path, run, [0])[0].outcome.state == "done"


def test_so_many_run_at_once_and_share_the_cores(tmp_path):
    def run(job):
        (tmp_path / f"begun-{job.number}").touch()
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("begun-*"))) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)  # each waits until all run: one after the other they never would
        say(tmp_path, job.number, torch.get_num_threads())

    began = time.monotonic()
    found = run_all(tmp_path, run, range(4), parallel=4)
    assert time.monotonic() - began < 30
    assert {ended.outcome.measured[0].value for ended in found.values()} == {max(1, cores() // 4)}


def test_asked_to_stop_a_trial_that_can_go_on_has_no_outcome(tmp_path):
    def run(job):
        def stop(number, frame):
            raise Interrupted("stopped by SIGTERM", 143)

        signal.signal(signal.SIGTERM, stop)
        (tmp_path / "ready").touch()
        time.sleep(30)

    runner = started(tmp_path, run)
    runner.stop()
    ended = runner.wait(20)
    assert [one.outcome for one in ended] == [None]


def test_one_that_does_not_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("ptft.sweep.processes._GRACE", 0.3)

    def run(job):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (tmp_path / "ready").touch()
        time.sleep(30)

    runner = started(tmp_path, run)
    runner.stop()
    assert [one.outcome for one in runner.wait(20)] == [None]


def test_what_the_first_trials_import_is_there_for_the_others(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "slow_to_import", raising=False)

    def run(job):
        there = "slow_to_import" in sys.modules
        __import__("slow_to_import")
        say(tmp_path, job.number, float(there))

    found = run_all(tmp_path, run, range(3), parallel=1)
    assert [found[number].outcome.measured[0].value for number in range(3)] == [0.0, 1.0, 1.0]


def test_devices_are_leased_one_a_trial(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Processes, "_spawn", lambda self, job, log, threads, device: asked.append(device) or os.getpid()
    )
    runner = Processes(Trials(tmp_path, say, lambda job: {}), parallel=3, devices=("0", "1"))
    assert not runner.forks
    for number in range(3):
        runner.start(Job(number, ()))
    assert asked == ["0", "1", "0"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_there_are_no_devices():
    assert cuda_devices() == []
