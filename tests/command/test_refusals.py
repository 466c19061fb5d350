"""What is refused late, once objects tell more than a config can: still before training, with nothing left behind."""

import json
from pathlib import Path

import pytest

from ptft.errors import ConfigError

QUICK = ("engine.max=4st", "engine.precision=fp32", "engine.batch_size=16", "model=vision/mlp")


@pytest.mark.parametrize(
    "setting",
    ["gate={metric: test/foo, min: 0.1}", "objective=val/foo:max", "objective=[val/loss:min,val/foo:min]"],
)
def test_a_metric_that_there_will_not_be_is_told_before_training(ptft, setting):
    with pytest.raises(ConfigError, match=r"no metric `(test|val)/foo`.*val/accuracy"):
        ptft("finetune", "name=a", setting, *QUICK)
    assert not Path("outputs/a").exists()


def test_a_run_cannot_be_resumed_to_fewer_steps_than_it_has_done(ptft):
    ptft("finetune", "name=a", *QUICK)
    before = Path("outputs/a/config.yaml").read_text()
    with pytest.raises(ConfigError, match="done 4 steps already"):
        ptft("finetune", "resume=a", "engine.max=2st")
    assert Path("outputs/a/config.yaml").read_text() == before
    ptft("finetune", "resume=a", "engine.max=6st")
    assert "max: 6st" in Path("outputs/a/config.yaml").read_text()


def test_a_contrastive_loss_needs_two_examples(ptft):
    with pytest.raises(ConfigError, match="compares the examples of a batch"):
        ptft("pretrain", "name=a", *QUICK, "engine.batch_size=1")


@pytest.mark.parametrize("option", ["vision/mixup", "vision/imagenet_strong"])
def test_mixed_labels_need_a_task_that_reads_them(ptft, option):
    with pytest.raises(ConfigError, match="Mixup mixes images and their labels, but task Rotation reads no mixed"):
        ptft("pretrain", "name=a", "task=vision/rotation", f"augmentation={option}", *QUICK)


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_a_short_training_is_profiled_too(ptft, steps):
    ptft("finetune", "name=a", *QUICK, f"engine.max={steps}st", "engine.profile=true")
    assert json.loads(Path("outputs/a/report/profile.json").read_text())["traceEvents"]


def test_an_evaluation_refuses_what_only_training_uses(ptft):
    ptft("finetune", "name=a", *QUICK)
    with pytest.raises(ConfigError, match=r"engine.max=3ep[\s\S]*optimizer.lr=1"):
        ptft("evaluate", "run=a", "engine.max=3ep", "optimizer.lr=1")
    ptft("evaluate", "run=a", "name=b", "engine.batch_size=7", "engine.evaluation_batches=1")


def test_going_on_and_replacing_exclude_each_other(ptft):
    with pytest.raises(ConfigError, match="cannot stand beside auto_resume"):
        ptft("finetune", "name=a", "auto_resume=true", "overwrite=true", *QUICK)


def test_a_warm_up_longer_than_the_training_is_said(ptft, capsys):
    ptft("finetune", "name=a", "schedule.warmup=100st", *QUICK)
    assert "it is all warm-up" in capsys.readouterr().out
