"""Sweeps from the command line, with a command that trains nothing: what is run, what fails, what survives a kill."""

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from ptft.config.hydra_app import launch
from ptft.config.tree import Tree
from ptft.errors import ConfigError, DivergedError, PtftError
from ptft.runtime.find import find_run
from ptft.sweep.trial import Measured
from tests.sweep.studies import trials


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Draw nothing: that takes longer than the sweeps here."""
    monkeypatch.setattr("ptft.config.conduct.write_plots", lambda facts, trials, space: ([], []))


def judge(config, invocation):
    """Stand in for a training: leaves word that it ran, and is better the nearer the rate is to 0.01."""
    folder = Path(config["output_root"], config["name"])
    with Path("ran.txt").open("a") as file:
        file.write(f"{folder.name}\n")
    folder.mkdir(parents=True, exist_ok=True)
    record = {"id": folder.name, "name": folder.name, "command": "finetune", "status": "done"}
    (folder / "run.json").write_text(json.dumps(record))
    return [Measured("val/accuracy", "max", 1 - abs(config["optimizer"]["lr"] - 0.01))]


def test_a_grid_runs_every_combination_in_hydras_order(ptft):
    ptft("finetune", "-m", "optimizer.lr=0.1,0.01", "engine.seed=1,2", "name=g", command=judge)
    assert [(t.params["optimizer.lr"], t.params["engine.seed"]) for t in trials("g")] == [
        ("0.1", "1"), ("0.1", "2"), ("0.01", "1"), ("0.01", "2"),
    ]  # fmt: skip
    assert Path("ran.txt").read_text().split() == ["0", "1", "2", "3"]
    assert json.loads(Path("outputs/g/sweep.json").read_text())["best"]["trial"] == 2
    assert len(Path("outputs/g/trials.csv").read_text().splitlines()) == 5


def test_the_best_trial_of_a_sweep_can_be_named_like_a_run(ptft):
    ptft("finetune", "-m", "optimizer.lr=0.1,0.01,0.5", "name=g", command=judge)
    assert find_run("best-of:g") == Path("outputs/g/1") == find_run("best-of:./outputs/g")
    with pytest.raises(ConfigError, match=r"holds no sweep.*sweeps here: g"):
        find_run("best-of:h")


def test_random_and_tpe_stay_in_their_interval_and_are_the_same_again(ptft):
    space = "optimizer.lr=tag(log,interval(1e-4,1e-1))"
    for method in ("random", "tpe"):
        few = ("hydra.sweeper.startup=3",) if method == "tpe" else ()
        for name in ("a", "b"):
            words = ("-m", space, f"hydra/sweeper={method}", "sweep.trials=6", *few, f"name={method}{name}")
            ptft("finetune", *words, command=judge)
        one, two = ([t.params["optimizer.lr"] for t in trials(f"{method}{name}")] for name in "ab")
        assert one == two and len(set(one)) == 6
        assert all(1e-4 <= float(text) <= 1e-1 for text in one)


def test_a_sweep_without_a_method_walks_a_grid_or_searches_an_interval(ptft):
    ptft("finetune", "-m", "optimizer.lr=0.1,0.2", "name=counted", command=judge)
    ptft("finetune", "-m", "optimizer.lr=interval(0.1,0.2)", "sweep.trials=2", "name=drawn", command=judge)
    methods = [json.loads(Path("outputs", name, "sweep.json").read_text())["method"] for name in ("counted", "drawn")]
    assert methods == ["grid", "tpe"]


# --- Failures ---

TROUBLE = {7: "exception", 13: "SIGKILL", 21: "out of memory", 30: "non-finite loss"}


def troubled(config, invocation):
    """Fail in the four ways that trials fail."""
    match invocation.job:
        case 7:
            raise ZeroDivisionError("a bug")
        case 13:
            os.kill(os.getpid(), signal.SIGKILL)
        case 21:
            torch.empty(10**15)
        case 30:
            raise DivergedError("the loss is nan at step 3")
    return judge(config, invocation)


SIXTY = ("-m", "optimizer.lr=0.01,0.02,0.03,0.04,0.05,0.06", "engine.seed=range(0,10)", "name=night")


def check_sixty():
    found = trials("night")
    assert [trial.number for trial in found] == list(range(60))
    assert Counter(trial.state for trial in found) == {"done": 56, "failed": 4}
    reasons = {trial.number: trial.reason for trial in found if trial.state == "failed"}
    assert list(reasons) == list(TROUBLE)
    assert reasons[7] == "ZeroDivisionError: a bug" and reasons[13].startswith("killed by SIGKILL")
    assert reasons[21] == "out of memory" and reasons[30] == "non-finite loss"
    assert "a bug" in found[7].error and "Traceback" in found[7].error
    assert {path.name for path in Path("outputs/night").glob("[0-9]*")} == set(map(str, range(60)))


def test_what_fails_is_written_down_and_the_others_go_on(ptft, capfd):
    ptft("finetune", *SIXTY, "sweep.parallel=2", command=troubled)
    check_sixty()
    told = json.loads(Path("outputs/night/7/trial.json").read_text())
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


def test_a_sweep_killed_at_ten_random_moments_loses_no_trial_and_runs_none_twice(ptft, capfd):
    dice = random.Random(0)
    words = [*SIXTY, "sweep.parallel=2"]
    for kill in range(10):
        process = in_child(lambda words=words: launch("finetune", words, troubled))
        while not Path("outputs/night/study.sqlite").exists():
            time.sleep(0.01)
        time.sleep(dice.uniform(0.3, 1.5))
        os.kill(process, signal.SIGKILL if kill % 2 else signal.SIGTERM)
        assert code_of(process) in (0, 143, -signal.SIGKILL, -signal.SIGTERM)
        words = ["-m", "sweep.resume=night"]
    assert code_of(in_child(lambda: launch("finetune", words, troubled))) == 0
    check_sixty()
    ran = Counter(Path("ran.txt").read_text().split())
    found = trials("night")
    assert set(ran) == {str(trial.number) for trial in found if trial.state == "done"}
    # One that was interrupted is started again; one that is done never is.
    assert all(ran[str(trial.number)] <= trial.attempts for trial in found)
    assert sum(trial.attempts for trial in found) <= 60 + 10 * 2


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


# --- Going on, seeds, other launchers ---


def test_a_finished_sweep_goes_on_when_more_trials_are_asked_for(ptft):
    space = ("-m", "optimizer.lr=interval(0.001,0.1)", "hydra/sweeper=random")
    ptft("finetune", *space, "sweep.trials=3", "name=few", command=judge)
    ptft("finetune", "-m", "sweep.resume=few", "sweep.trials=6", command=judge)
    ptft("finetune", *space, "sweep.trials=6", "name=many", command=judge)
    assert [t.params for t in trials("few")] == [t.params for t in trials("many")]
    assert [t.attempts for t in trials("few")] == [1] * 6


def test_seeds_count_as_one_point_with_mean_and_interval(ptft):
    def noisy(config, invocation):
        return [Measured("val/accuracy", "max", config["optimizer"]["lr"] + 0.01 * config["engine"]["seed"])]

    ptft("finetune", "-m", "optimizer.lr=0.1,0.2", "sweep.seeds=3", "engine.seed=5", "name=g", command=noisy)
    assert [(t.point, t.seed) for t in trials("g")] == [(p, s) for p in range(2) for s in range(3)]
    best = json.loads(Path("outputs/g/sweep.json").read_text())["best"]
    assert best["point"] == 1 and best["trial"] == 5
    assert list(best["values"].values()) == pytest.approx([0.26])
    assert best["interval"] == pytest.approx([0.26 - 0.0248414, 0.26 + 0.0248414])  # 4.302653 * 0.01 / sqrt(3)


@pytest.mark.parametrize(
    "by", ["hydra/launcher=basic", "hydra/launcher=joblib", "hydra/launcher=processes", "hydra/sweeper=basic"]
)
def test_other_launchers_and_sweepers_run_the_same_jobs(ptft, by):
    ptft("finetune", "-m", "optimizer.lr=0.1,0.01,0.02", "name=g", "sweep.parallel=2", by, command=judge)
    assert sorted(Path("ran.txt").read_text().split()) == ["0", "1", "2"]
    if by != "hydra/sweeper=basic":
        assert [trial.state for trial in trials("g")] == ["done"] * 3
        assert find_run("best-of:g").name == "1"


@pytest.mark.slow
def test_a_worker_of_another_launcher_that_is_killed_is_found_and_the_others_go_on(ptft):
    def deadly(config, invocation):
        if config["optimizer"]["lr"] == 0.2:
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(config, invocation)

    words = ("-m", "optimizer.lr=0.1,0.2,0.3,0.4", "name=g", "sweep.parallel=2", "hydra/launcher=joblib")
    ptft("finetune", *words, command=deadly)
    assert [trial.state for trial in trials("g")] == ["done", "failed", "done", "done"]


def test_the_settings_of_a_preset_stand_behind_those_typed(ptft, here):
    (here / "my" / "sweep").mkdir(parents=True)
    (here / "my" / "sweep" / "mine.yaml").write_text(
        '# Mine\ndefaults: [default]\nspace: ["optimizer.lr=0.1,0.2", "engine.seed=1,2"]\ntrials: 3\n'
    )
    ptft("finetune", "--config-dir", "my", "-m", "sweep=mine", "engine.seed=7", "name=g", command=judge)
    assert [trial.params for trial in trials("g")] == [{"optimizer.lr": "0.1"}, {"optimizer.lr": "0.2"}]


@pytest.mark.parametrize("preset", [name for name in Tree().options("sweep") if name != "default"])
def test_every_preset_searches_something(ptft, preset):
    ptft("finetune", "-m", f"sweep={preset}", "sweep.trials=1", "sweep.seeds=1", "name=g", command=judge)
    (trial,) = trials("g")
    assert trial.state == "done" and trial.params


# --- Mistakes ---


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sweep.trials=3"], "add -m"),
        (["-m", "name=a"], "needs a setting with several values"),
        (["-m", "optimizer.lr=interval(0.1,0.2)", "hydra/sweeper=grid"], "cannot walk the interval of optimizer.lr"),
        (["-m", "optimizer.lr=interval(0.2,0.1)", "name=a"], "the smaller first"),
        (["-m", "optimizer.weight_decay=tag(log,interval(0,0.1))"], "ends above 0"),
        (["-m", "optimizer.lr=interval(-1,0.1)"], "takes a number > 0"),
        (["-m", "engine.seed=1,2", "sweep.seeds=3"], "seeds of its own"),
        (["-m", "sweep.resume=nowhere"], "holds no sweep"),
        (["-m", "optimizer.lr=0.1,0.2", "hydra/sweeper=asha", "engine.stop_at=3st"], "sets engine.stop_at itself"),
        (["-m", "optimizer.lr=0.1,0.2", "hydra/sweeper=asha", "hydra.sweeper.reduction=1"], "whole number >= 2"),
        (["-m", "optimizer.lr=0.1,0.2", "sweep.space=[nonsense]"], "takes settings with several values"),
        (["-m", "optimizer.lr=0.1,0.2", "--cfg=job"], "cannot stand beside"),
        (["-m", "optimizer.lr=0.1,0.2", "hydra/sweeper=tpee"], "did you mean `hydra/sweeper=tpe`?"),
        (["-m", "optimizer.lr=0.1,0.2", "hydra/launcher=jobli"], "did you mean `hydra/launcher=joblib`?"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(refused, words, told):
    assert told in refused("finetune", *words)


def test_a_sweep_is_not_written_over_unless_told(ptft):
    words = ("-m", "optimizer.lr=0.1,0.2", "name=g")
    ptft("finetune", *words, command=judge)
    with pytest.raises(ConfigError, match=r"sweep.resume=g goes on with it"):
        ptft("finetune", *words, command=judge)
    ptft("finetune", *words, "overwrite=true", command=judge)
    assert [trial.attempts for trial in trials("g")] == [1, 1]


def test_a_resumed_sweep_keeps_what_it_searches(ptft):
    ptft("finetune", "-m", "optimizer.lr=0.1,0.2", "name=g", command=judge)
    with pytest.raises(ConfigError, match="keeps its settings"):
        ptft("finetune", "-m", "sweep.resume=g", "optimizer.lr=0.3,0.4", command=judge)
    with pytest.raises(ConfigError, match="begun by: ptft finetune -m"):
        ptft("pretrain", "-m", "sweep.resume=g", command=judge)
