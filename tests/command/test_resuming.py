"""What a resumed run keeps, what may change, and what it says when it cannot be the same to the bit."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from ptft.data.vision.digits import Digits
from ptft.engine.engine import Engine
from ptft.errors import ConfigError, DataError, Interrupted, PtftError
from ptft.task.classification import Classification

QUICK = ("engine.max=12st", "engine.precision=fp32", "engine.batch_size=16", "model=vision/mlp", "engine.log_every=2st")


@pytest.fixture
def stopped(ptft, monkeypatch):
    """A run called `a` that a SIGTERM stopped after step 5."""
    original = Classification.after_update

    def after_update(self, step, max_steps):
        original(self, step, max_steps)
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Classification, "after_update", after_update)
        with pytest.raises(Interrupted, match="resume=a"):
            ptft("finetune", "name=a", *QUICK)
    return ptft


def rows(name):
    return [json.loads(line) for line in Path(f"outputs/{name}/metrics.jsonl").read_text().splitlines()]


def test_a_resumed_command_logs_and_measures_what_an_uninterrupted_one_does(stopped):
    stopped("finetune", "resume=a")
    stopped("finetune", "name=b", *QUICK)
    timeless = [
        [{k: v for k, v in row.items() if k not in ("time", "cpu", "examples_per_second")} for row in rows(n)]
        for n in "ab"
    ]
    assert timeless[0] == timeless[1]
    metrics = [json.loads(Path(f"outputs/{name}/summary.json").read_text())["metrics"] for name in "ab"]
    assert metrics[0] == metrics[1]
    assert len(json.loads(Path("outputs/a/run.json").read_text())["resumed"]) == 1


def test_data_that_changed_are_refused_unless_allowed(stopped, monkeypatch):
    original = Digits.read

    def changed(self):
        arrays = original(self)
        arrays.images[0, 0, 0, 0] ^= 1
        return arrays

    monkeypatch.setattr(Digits, "read", changed)
    with pytest.raises(DataError, match=r"data changed.*allow_changed=true"):
        stopped("finetune", "resume=a")
    stopped("finetune", "resume=a", "data.allow_changed=true")


def test_another_number_of_threads_is_said(stopped, capsys):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        stopped("finetune", "resume=a")
    finally:
        torch.set_num_threads(threads)
    assert f"not bit-exact: threads {threads} -> {threads + 1}" in capsys.readouterr().out


def test_running_out_of_memory_says_what_to_lower(ptft, monkeypatch):
    def loop(self, *arguments):
        raise torch.OutOfMemoryError("tried to allocate too much\nlong story")

    monkeypatch.setattr(Engine, "_loop", loop)
    with pytest.raises(
        PtftError, match=r"out of memory at step 1.*start anew.*engine.micro_batch_size smaller than 16"
    ) as error:
        ptft("finetune", "name=a", *QUICK)
    assert "long story" not in str(error.value)


def test_tensorboard_gets_every_logged_value(ptft):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    ptft("finetune", "name=a", "logger=tensorboard", *QUICK)
    events = EventAccumulator("outputs/a/tensorboard").Reload()
    logged = {row["step"]: row["train/loss"] for row in rows("a") if "train/loss" in row}
    seen = {event.step: event.value for event in events.Scalars("train/loss")}
    assert seen == pytest.approx(logged, abs=1e-6)
    assert "val/accuracy" in events.Tags()["scalars"]


@pytest.mark.parametrize("root", ["here", "outputs"])
def test_the_resuming_command_that_is_printed_works(ptft, monkeypatch, root):
    def stop(self, step, max_steps):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Classification, "after_update", stop)
        with pytest.raises(Interrupted) as stopped:
            ptft("finetune", "name=a", f"output_root={root}", *QUICK)
    command = str(stopped.value).rpartition("go on with: ptft ")[2]
    ptft(*command.split())
    assert json.loads(Path(root, "a", "summary.json").read_text())["steps"] == 12


def test_a_resume_that_is_refused_leaves_the_run_as_it_was(ptft, capsys):
    ptft("finetune", "name=a", *QUICK)
    before = json.loads(Path("outputs/a/run.json").read_text())
    with pytest.raises(ConfigError, match="has done 12 steps already"):
        ptft("finetune", "resume=a", "engine.max=4st")
    assert json.loads(Path("outputs/a/run.json").read_text()) == before


def test_random_weights_are_told(ptft, capsys):
    ptft("finetune", "name=a", *QUICK)
    assert "weights are random" in capsys.readouterr().out
    ptft("finetune", "name=b", "init_from=a", *QUICK)
    assert "weights are random" not in capsys.readouterr().out
