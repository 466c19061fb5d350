"""Sweeps from the command line, with a command that trains nothing: what is run, in which order, and what goes on."""

import json
import os
import signal
from pathlib import Path

import pytest

from ptft.config.tree import Tree
from ptft.errors import ConfigError
from ptft.runtime.find import find_run
from ptft.sweep.trial import Measured
from tests.config.nights import judge
from tests.sweep.studies import trials

pytestmark = pytest.mark.usefixtures("undrawn")


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
        few = ("hydra.sweeper.startup=2",) if method == "tpe" else ()
        for name in ("a", "b"):
            words = ("-m", space, f"hydra/sweeper={method}", "sweep.trials=4", *few, f"name={method}{name}")
            ptft("finetune", *words, command=judge)
        one, two = ([t.params["optimizer.lr"] for t in trials(f"{method}{name}")] for name in "ab")
        assert one == two and len(set(one)) == 4
        assert all(1e-4 <= float(text) <= 1e-1 for text in one)


def test_a_sweep_without_a_method_walks_a_grid_or_searches_an_interval(ptft):
    ptft("finetune", "-m", "optimizer.lr=0.1,0.2", "name=counted", command=judge)
    ptft("finetune", "-m", "optimizer.lr=interval(0.1,0.2)", "sweep.trials=2", "name=drawn", command=judge)
    methods = [json.loads(Path("outputs", name, "sweep.json").read_text())["method"] for name in ("counted", "drawn")]
    assert methods == ["grid", "tpe"]


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
