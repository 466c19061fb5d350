"""Sweeps whose trials fail, and sweeps that are killed: what is written down, what runs again and what does not."""

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from ptft.config.hydra_app import launch
from ptft.errors import PtftError
from ptft.sweep.trial import Measured
from tests.config.nights import Night, judge
from tests.sweep.studies import trials

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT, WHOLE = Night(12, (1, 3, 4, 6), kills=3), Night(60, (7, 13, 21, 30), kills=10)


def test_what_fails_is_written_down_and_the_others_go_on(ptft, capfd):
    ptft("finetune", *SHORT.words, command=SHORT.run)
    SHORT.check()
    told = json.loads(Path("outputs/night/1/trial.json").read_text())
    assert told["state"] == "failed" and "ZeroDivisionError" in told["error"]
    assert "non-finite loss" in capfd.readouterr().out


def in_child(action):
    """Do something in a forked process; returns its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setpgid(0, 0)
        action()
        code = 0
    except PtftError as error:
        code = error.exit_code
    finally:
        os._exit(code)


def code_of(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.parametrize("night", [SHORT, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["short", "whole"])
def test_a_sweep_killed_at_random_moments_loses_no_trial_and_runs_none_twice(ptft, capfd, night):
    dice = random.Random(0)
    words = list(night.words)
    for kill in range(night.kills):
        process = in_child(lambda words=words: launch("finetune", words, night.run))
        while not Path("outputs/night/study.sqlite").exists():
            time.sleep(0.01)
        time.sleep(dice.uniform(0.3, 1.5))
        os.kill(process, signal.SIGKILL if kill % 2 else signal.SIGTERM)
        assert code_of(process) in (0, 143, -signal.SIGKILL, -signal.SIGTERM)
        words = ["-m", "sweep.resume=night"]
    assert code_of(in_child(lambda: launch("finetune", words, night.run))) == 0
    night.check()
    ran = Counter(Path("ran.txt").read_text().split())
    found = trials("night")
    assert set(ran) == {str(trial.number) for trial in found if trial.state == "done"}
    # One that was interrupted is started again; one that is done never is.
    assert all(ran[str(trial.number)] <= trial.attempts for trial in found)
    assert sum(trial.attempts for trial in found) <= night.trials + night.kills * 2


def test_trials_end_with_their_sweep_however_it_ends(ptft):
    def endless(config, invocation):
        Path("process.txt").write_text(str(os.getpid()))
        time.sleep(60)

    process = in_child(lambda: launch("finetune", ["-m", "optimizer.lr=0.1,0.2", "name=g"], endless))
    while not (Path("process.txt").exists() and Path("process.txt").read_text()):
        time.sleep(0.01)
    trial = int(Path("process.txt").read_text())
    os.kill(process, signal.SIGKILL)
    code_of(process)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{trial}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{trial}").exists()


def test_a_trial_that_takes_too_long_is_stopped(ptft):
    def slow(config, invocation):
        time.sleep(30 if invocation.job == 0 else 0)
        return judge(config, invocation)

    ptft("finetune", "-m", "optimizer.lr=0.1,0.2", "name=g", "sweep.timeout=0.1", command=slow)
    assert [(trial.state, trial.reason) for trial in trials("g")] == [
        ("failed", "timeout after 0.1 minutes"),
        ("done", None),
    ]


def test_too_many_failures_end_a_sweep_with_exit_code_1(ptft):
    def broken(config, invocation):
        raise ValueError("always")

    with pytest.raises(PtftError, match=r"3 trials failed, more than sweep.max_failures=2") as ended:
        ptft("finetune", "-m", "engine.seed=range(0,9)", "name=g", "sweep.max_failures=2", command=broken)
    assert ended.value.exit_code == 1 and len(trials("g")) == 3


def test_a_sweep_in_which_nothing_succeeds_ends_with_exit_code_1(ptft):
    def broken(config, invocation):
        raise ValueError("always")

    with pytest.raises(PtftError, match=r"no trial .* succeeded; the first failed by: ValueError: always") as ended:
        ptft("finetune", "-m", "engine.seed=1,2", "name=g", command=broken)
    assert ended.value.exit_code == 1


def test_failed_trials_run_again_when_asked_to(ptft):
    def once(config, invocation):
        if not Path("mended.txt").exists():
            raise ValueError("not yet")
        return judge(config, invocation)

    with pytest.raises(PtftError):
        ptft("finetune", "-m", "engine.seed=1,2", "name=g", command=once)
    Path("mended.txt").touch()
    ptft("finetune", "-m", "sweep.resume=g", "sweep.retry=true", command=once)
    assert [(trial.state, trial.attempts) for trial in trials("g")] == [("done", 2), ("done", 2)]


def test_failed_trials_run_again_once_and_not_at_every_resumption(ptft):
    def broken(config, invocation):
        if config["engine"]["seed"] == 1:
            raise ValueError("always")
        return judge(config, invocation)

    ptft("finetune", "-m", "engine.seed=1,2", "name=g", "hydra/launcher=basic", command=broken)
    ptft("finetune", "-m", "sweep.resume=g", "sweep.retry=true", "hydra/launcher=processes", command=broken)
    ptft("finetune", "-m", "sweep.resume=g", command=broken)
    assert [(trial.state, trial.attempts) for trial in trials("g")] == [("failed", 2), ("done", 1)]


def test_a_value_that_is_not_finite_fails_its_trial(ptft):
    def nowhere(config, invocation):
        return [Measured("val/loss", "min", float("nan") if invocation.job else 1.0)]

    ptft("finetune", "-m", "engine.seed=1,2", "name=g", command=nowhere)
    assert [trial.reason for trial in trials("g")] == [None, "the objective is not a finite number"]
