"""Every way to fine-tune, from the command line: stopped, resumed, evaluated, handed over; and the list of them."""

import json
import os
import signal
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ptft.command.listing import list_options
from ptft.config.tree import Tree
from ptft.errors import CheckpointError, ConfigError, Interrupted
from ptft.task.classification import Classification

QUICK = (
    "model=vision/convnet", "model.widths=[8,8,16]", "engine.max=8st", "engine.evaluate_every=4st",
    "engine.batch_size=16", "engine.precision=fp32", "engine.log_every=2st", "optimizer.lr=0.01",
)  # fmt: skip
STRATEGIES = {
    "full": [],
    "linear_probe": ["adapt=linear_probe"],
    "freeze": ["adapt=freeze"],
    "gradual": ["adapt=gradual", "optimizer=sgd"],
    "lora": ["adapt=lora", "adapt.rank=2"],
    "by_depth": ["optimizer.layer_decay=0.5", "optimizer.phases.model.head_multiplier=4"],
    "ema": ["engine.ema.decay=0.9"],
    "swa": ["engine.swa.start=50%", "engine.swa.every=2st"],
    "together": ["adapt=lora", "optimizer.layer_decay=0.5", "engine.swa.start=4st", "engine.swa.every=2st"],
}


def read(path):
    return json.loads(Path(path).read_text())


def stop(ptft, monkeypatch, step, *arguments):
    """Train until a SIGTERM arrives after a step."""
    original = Classification.after_update

    def after_update(self, done, max_steps):
        original(self, done, max_steps)
        if done + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Classification, "after_update", after_update)
        with pytest.raises(Interrupted):
            ptft("finetune", *arguments)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_resumes_to_the_same_result_and_is_evaluated_to_the_same_numbers(ptft, monkeypatch, strategy):
    arguments = [*QUICK, *STRATEGIES[strategy]]
    ptft("finetune", *arguments, "name=whole")
    stop(ptft, monkeypatch, 5, *arguments, "name=stopped")
    ptft("finetune", "resume=stopped")
    whole, stopped = (read(f"outputs/{name}/summary.json")["metrics"] for name in ("whole", "stopped"))
    assert whole == stopped
    for file in ("model/model.safetensors", "checkpoints/step_00000008/model.safetensors"):
        one, two = (safetensors.torch.load_file(f"outputs/{name}/{file}") for name in ("whole", "stopped"))
        assert all(torch.equal(value, two[name]) for name, value in one.items())
    log = Path("outputs/stopped/log.txt").read_text()
    counts = read("outputs/stopped/summary.json")["parameters"]
    assert f"trainable {counts['trainable']:,} of {counts['total']:,} parameters" in log
    ptft("evaluate", "run=stopped", "name=evaluated")
    measured = read("outputs/evaluated/summary.json")["metrics"]
    assert measured and measured == {name: whole[name] for name in measured}
    ptft("finetune", *QUICK, "init_from=stopped", "name=next", "engine.max=1st")
    assert "18 of 18 backbone tensors; head taken" in Path("outputs/next/log.txt").read_text()


def test_an_unfinished_lora_run_gives_no_weights_and_says_what_to_do(ptft, monkeypatch):
    stop(ptft, monkeypatch, 5, *QUICK, "adapt=lora", "name=stopped")
    with pytest.raises(CheckpointError, match=r"Finish it: ptft finetune resume=.*stopped"):
        ptft("finetune", *QUICK, "init_from=stopped", "name=next")
    assert not Path("outputs/next").exists()


def test_gradual_unfreezing_counts_all_parameters_and_tells_its_steps(ptft):
    ptft("finetune", *QUICK, "adapt=gradual", "name=run")
    log = Path("outputs/run/log.txt").read_text()
    counted = log.partition("trainable ")[2].split()
    assert counted[0] == counted[2]
    assert "gradual unfreezing: the first of 3 layers at step 2, the last at 4" in log


def test_a_phase_has_its_own_rates_by_depth_where_its_network_has_parts(ptft):
    with pytest.raises(ConfigError, match=r"Generator has no parts\(\): leave both at 1.0"):
        ptft(
            "pretrain", "task=vision/gan", "model=vision/dcgan", "augmentation=none", "engine.max=1st",
            "optimizer.phases.generator.layer_decay=0.5",
        )  # fmt: skip


def test_the_list_of_strategies_is_made_of_the_comments_of_the_configs():
    lines = list_options("strategies").splitlines()
    told = {line.split()[0]: line.split(None, 1)[1] for line in lines[: lines.index("")]}
    for option, file in Tree().options("adapt").items():
        assert file.read_text().splitlines()[0] == f"# {told[f'adapt={option}']}"
    for setting in ("optimizer.layer_decay", "optimizer.head_multiplier", "engine.ema", "engine.swa", "task.test_time"):
        (text,) = [text for typed, text in told.items() if typed.startswith(setting)]
        assert len(text) > 20


def test_on_a_terminal_a_long_explanation_goes_on_below_itself():
    lines = list_options("models", width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(" " * 27 + "parameters") for line in lines)
    assert " ".join(list_options("models", width=80).split()) == " ".join(list_options("models").split())


def test_each_listed_setting_can_be_typed_as_it_stands(ptft):
    lines = list_options("strategies").splitlines()  # the options of adapt: tests/test_recipes.py
    typed = [line.split()[0] for line in lines[: lines.index("")] if not line.startswith("adapt=")]
    for number, text in enumerate(typed):
        ptft("finetune", *QUICK, "engine.max=1st", text, f"name=run{number}")
