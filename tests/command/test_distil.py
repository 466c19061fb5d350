"""Learning from a trained run on the command line: what is told, found again, refused, and evaluated without it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ptft.errors import CheckpointError, ConfigError, Interrupted
from ptft.task.classification import Classification
from ptft.task.distillation import Distillation
from tests.text_samples import write_opinions

QUICK = ("engine.precision=fp32", "engine.batch_size=16", "model=vision/mlp", "engine.log_every=2st")
SHORT = ("engine.max=6st", *QUICK)
TEXT = ("data=text/table", "data.path=mails.csv", "data.tokenizer.vocab_size=120", "data.max_length=24",
        "engine.max=3st", "engine.precision=fp32", "engine.batch_size=8", "model=text/bert_tiny",
        "model.width=16", "model.heads=2", "model.mlp=32")  # fmt: skip


def read(name, file):
    return json.loads(Path("outputs", name, file).read_text())


def rows(name):
    lines = [json.loads(line) for line in Path("outputs", name, "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("time", "cpu", "examples_per_second")} for row in lines]


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A folder with one short run called `big`, trained once."""
    folder = tmp_path_factory.mktemp("big")
    command = [sys.executable, "-m", "ptft", "finetune", "name=big", "model.hidden=[64]", *SHORT]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def taught(ptft, big):
    """A folder with a copy of `big`."""
    shutil.copytree(big / "outputs", "outputs")
    return ptft


def test_a_run_learns_from_another_and_is_evaluated_without_it(taught, capsys):
    before = {path: path.read_bytes() for path in Path("outputs/big").rglob("*") if path.is_file()}
    taught("finetune", "name=small", "distil.teacher=big", "distil.temperature=2", "model.hidden=[16]", *SHORT)
    assert "teacher outputs/big, step" in capsys.readouterr().out
    (parent,) = read("small", "run.json")["parents"]
    assert parent["name"] == "big" and parent["as"] == "teacher" and parent["id"] == read("big", "run.json")["id"]
    assert parent["checkpoint"] == read("big", "summary.json")["checkpoint"]
    assert {"train/cross_entropy", "train/distillation"} <= set(rows("small")[0])
    assert {path: path.read_bytes() for path in before} == before
    assert read("small", "summary.json")["parameters"]["total"] < read("big", "summary.json")["parameters"]["total"]
    checkpoint = next(Path("outputs/small/checkpoints").glob("step_*"))
    assert not any("teacher" in name for name in safetensors.torch.load_file(checkpoint / "model.safetensors"))
    shutil.rmtree("outputs/big")
    value = taught("evaluate", "run=small", "name=measured")
    assert value == read("small", "summary.json")["metrics"]["test/accuracy"]["value"]


def test_a_share_of_nothing_trains_to_the_bit_as_without_a_teacher(taught):
    taught("finetune", "name=plain", "model.hidden=[16]", "engine.ema={}", *SHORT)
    taught(
        "finetune", "name=none", "distil.teacher=big", "distil.share=0", "model.hidden=[16]", "engine.ema={}", *SHORT
    )
    files = [Path(f"outputs/{name}/model/model.safetensors").read_bytes() for name in ("plain", "none")]
    assert files[0] == files[1]


@pytest.fixture
def stopped(taught, monkeypatch):
    """Beside `big` a run called `a` that learns from the latest run and was stopped after step 3."""

    def after_update(self, step, max_steps):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Classification, "after_update", after_update)
        with pytest.raises(Interrupted, match="resume=a"):
            taught("finetune", "name=a", "distil.teacher=@latest", "engine.ema={}", *SHORT)
    return taught


def test_resuming_equals_an_uninterrupted_run_to_the_bit(stopped):
    stopped("finetune", "resume=a")
    stopped("finetune", "name=b", "distil.teacher=big", "engine.ema={}", *SHORT)
    assert rows("a") == rows("b")
    last = [safetensors.torch.load_file(f"outputs/{name}/checkpoints/step_00000006/model.safetensors") for name in "ab"]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[1]) and last[0].keys() == last[1].keys()
    assert len(read("a", "run.json")["parents"]) == 1


def test_a_teacher_that_moved_is_named_anew(stopped):
    shutil.move("outputs/big", "elsewhere")
    with pytest.raises(CheckpointError, match=r"no longer at outputs/big.*distil\.teacher=\./folder"):
        stopped("finetune", "resume=a")
    stopped("finetune", "resume=a", "distil.teacher=./elsewhere")
    assert read("a", "run.json")["status"] == "done"


def test_another_teacher_of_the_same_name_is_refused(stopped):
    stopped("finetune", "name=big", "overwrite=true", "model.hidden=[64]", "engine.seed=1", *SHORT)
    with pytest.raises(CheckpointError, match=r"run \w+, is no longer at outputs/big"):
        stopped("finetune", "resume=a")


def test_a_teacher_that_changed_is_refused(stopped):
    record = read("a", "run.json")
    record["parents"][0]["checkpoint"] = "0" * 64
    Path("outputs/a/run.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"the teacher outputs/big changed since outputs/a began"):
        stopped("finetune", "resume=a")


def test_a_resumed_run_keeps_its_teacher_or_none(stopped):
    with pytest.raises(ConfigError, match=r"distil"):
        stopped("finetune", "resume=a", "distil=null")
    with pytest.raises(ConfigError, match=r"temperature"):
        stopped("finetune", "resume=a", "distil.temperature=3")
    with pytest.raises(ConfigError, match=r"distil"):
        stopped("finetune", "resume=big", "engine.max=8st", "distil.teacher=a")


def test_what_is_wrong_is_told_at_the_door(taught):
    with pytest.raises(ConfigError, match=r"(?s)distil\.teacher=bigg.*did you mean `big`"):
        taught("finetune", "name=x", "distil.teacher=bigg", *SHORT)
    with pytest.raises(ConfigError, match=r"distil\.teacher.*needs a value|distil.*teacher"):
        taught("finetune", "name=x", "distil.temperature=2", *SHORT)
    with pytest.raises(ConfigError, match=r"distil\.temperature"):
        taught("finetune", "name=x", "distil.teacher=big", "distil.temperature=0", *SHORT)
    with pytest.raises(ConfigError, match=r"(?s)distil\.shar\b.*share"):
        taught("finetune", "name=x", "distil.teacher=big", "distil.shar=0.5", *SHORT)
    with pytest.raises(ConfigError, match=r"holds what this command reads"):
        taught("finetune", "name=big", "overwrite=true", "distil.teacher=big", *SHORT)
    with pytest.raises(CheckpointError, match="no checkpoint `77`"):
        taught("finetune", "name=x", "distil.teacher=big", "distil.checkpoint=77", *SHORT)
    with pytest.raises(
        ConfigError, match=r"distil\.teacher=big: the last block of the network of the student.*attention"
    ):
        taught("finetune", "name=x", "distil.teacher=big", "distil.attention=1", *SHORT)
    assert not Path("outputs/x").exists()


def test_a_teacher_of_another_task_is_refused_and_the_run_taken_back(taught):
    with pytest.raises(ConfigError, match=r"distil\.teacher=big: task Rotation cannot be distilled"):
        taught("pretrain", "name=x", "task=vision/rotation", "augmentation=none", "distil.teacher=big", *SHORT)
    assert not Path("outputs/x").exists()


def test_a_text_student_reads_with_its_teacher_s_tokenizer(ptft, monkeypatch):
    write_opinions(Path("mails.csv"))
    ptft("finetune", *TEXT, "model.layers=2", name="big")
    seen = []
    original = Distillation.loss
    monkeypatch.setattr(Distillation, "loss", lambda *given: seen.append(original(*given)) or seen[-1])
    ptft("finetune", *TEXT, "model.layers=1", "distil.teacher=big", "distil.hidden=1", "distil.attention=1",
         "data.tokenizer.vocab_size=90", name="small")  # fmt: skip
    tokenizers = [Path(f"outputs/{name}/model/tokenizer.json").read_bytes() for name in ("big", "small")]
    assert tokenizers[0] == tokenizers[1]
    assert {"hidden_states", "attention_relations", "distillation"} < set(seen[0].sums)


def test_pretraining_learns_from_a_teacher_too(ptft):
    write_opinions(Path("mails.csv"))
    settings = (*TEXT, "task=text/masked", "augmentation=none")
    ptft("pretrain", *settings, "model.layers=2", name="big")
    ptft("pretrain", *settings, "model.layers=1", "distil.teacher=big", name="small")
    assert "train/distillation" in rows("small")[-1]
