"""Sweeps of real trainings: rungs go on as if they had never stopped, and the best trial is a run like any other."""

import json
import shlex
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.sweep.studies import trials

QUICK = (
    "model=vision/mlp", "model.hidden=[16]", "engine.batch_size=32", "engine.max=18st", "engine.evaluate_every=6st",
    "engine.precision=fp32", "engine.log_every=2st",
)  # fmt: skip


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Draw nothing: that takes longer than the sweeps here."""
    monkeypatch.setattr("ptft.config.conduct.write_plots", lambda facts, trials, space: ([], []))


def weights(run):
    return safetensors.torch.load_file(f"outputs/{run}/checkpoints/step_00000018/model.safetensors")


def rates(run):
    rows = map(json.loads, Path(f"outputs/{run}/metrics.jsonl").read_text().splitlines())
    return {row["step"]: value for row in rows for key, value in row.items() if key.startswith("lr")}


def test_a_trial_that_was_promoted_equals_one_that_was_never_stopped(ptft):
    space = ("optimizer.lr=0.0003,0.001,0.003,0.01,0.03,0.1", "hydra/sweeper=asha", "sweep.trials=6")
    ptft("finetune", "-m", *QUICK, *space, "hydra.sweeper.rungs=2", "hydra.sweeper.reduction=3", "name=night")
    found = trials("night")
    promoted = [trial for trial in found if trial.rung == 1]
    assert 1 <= len(promoted) <= 2 and all(set(trial.values) == {0, 1} for trial in promoted)
    best = max(promoted, key=lambda trial: trial.values[1])
    ptft("finetune", *QUICK, f"optimizer.lr={best.params['optimizer.lr']}", "name=whole")
    one, two = weights(f"night/{best.number}"), weights("whole")
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert rates(f"night/{best.number}") == rates("whole")
    stopped = next(trial for trial in found if trial.rung == 0)
    summary = json.loads(Path(f"outputs/night/{stopped.number}/summary.json").read_text())
    assert summary["steps"] == 6 and stopped.attempts == 1


def test_the_best_trial_is_evaluated_compared_and_reproduced(ptft):
    ptft("finetune", "-m", *QUICK, "optimizer.lr=1e-5,0.03", "name=g")
    best = json.loads(Path("outputs/g/sweep.json").read_text())["best"]
    assert best["run"] == "g/1"
    ptft("evaluate", "run=best-of:g", "name=evaluated")
    assert json.loads(Path("outputs/evaluated/run.json").read_text())["parents"][0]["name"] == "g/1"
    ptft("finetune", *QUICK, "init_from=best-of:g", "engine.max=1st", "name=next")
    command = json.loads(Path("outputs/g/sweep.json").read_text())["reproduce"]
    ptft("finetune", *shlex.split(command)[2:], "name=again")
    one, two = (safetensors.torch.load_file(f"outputs/{run}/model/model.safetensors") for run in ("g/1", "again"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_several_objectives_have_a_front(ptft):
    both = "objective=[val/accuracy:max,val/loss:min]"
    ptft("finetune", "-m", *QUICK, "optimizer.lr=interval(0.001,0.1)", "sweep.trials=3", both, "name=g")
    summary = json.loads(Path("outputs/g/sweep.json").read_text())
    assert summary["objectives"] == [["val/accuracy", "max"], ["val/loss", "min"]]
    assert summary["front"] and all(len(trial.values[0]) == 2 for trial in trials("g"))


def test_a_loss_that_is_not_finite_is_a_failed_trial(ptft):
    ptft("finetune", "-m", *QUICK, "optimizer=sgd", "optimizer.lr=0.01,1e30", "name=g")
    assert [(trial.state, trial.reason) for trial in trials("g")] == [("done", None), ("failed", "non-finite loss")]


def test_processes_started_afresh_find_the_same(ptft):
    for name, start in (("forked", "fork"), ("fresh", "spawn")):
        ptft("finetune", "-m", *QUICK, "optimizer.lr=0.01,0.03", f"hydra.launcher.start={start}", f"name={name}")
    assert [trial.values for trial in trials("forked")] == [trial.values for trial in trials("fresh")]


def test_evaluations_sweep_too(ptft):
    ptft("finetune", "-m", *QUICK, "optimizer.lr=0.01,0.03", "name=g")
    ptft("evaluate", "-m", "run=g/0,g/1", "name=judged", "sweep.parallel=2")
    values = [trial.values[0][0] for trial in trials("judged")]
    told = [json.loads(Path(f"outputs/g/{n}/summary.json").read_text())["metrics"]["test/accuracy"] for n in (0, 1)]
    assert values == [one["value"] for one in told]


@pytest.mark.slow
def test_compressions_sweep_too(ptft):
    ptft("finetune", *QUICK, "name=parent")
    quick = ("compression.measure.rounds=1", "compression.measure.batch_sizes=[1]", "compression.measure.memory=false")
    methods = "compression.steps.int8.method=minmax,mse"
    ptft("compress", "-m", "run=parent", "compression=int8", methods, *quick, "name=small")
    summary = json.loads(Path("outputs/small/sweep.json").read_text())
    assert summary["counts"]["done"] == 2 and summary["objectives"] == [["val/accuracy", "max"]]
