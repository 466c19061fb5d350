"""The examples of CONTRIBUTING.md: taken out of the page, and run through the command line."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from ptft.errors import ConfigError
from tests.documents import ROOT, commands_shown, files_shown, write_files

FILES = files_shown("CONTRIBUTING.md")
COMMANDS = commands_shown("CONTRIBUTING.md")
SHORT = ("engine.max=2st", "engine.batch_size=8", "engine.evaluation_batches=1", "engine.precision=fp32")


def as_plugin(text):
    """Return a file of ptft as one of a package called `added`: what it adds is there, all else stays ptft's."""
    own = [name.removesuffix(".py").replace("/", ".") for name in FILES if name.endswith(".py")]
    for module in own:
        text = text.replace(module, module.replace("ptft.", "added.", 1))
    return text.replace("ptft/", "added/", 1) if text.startswith("ptft/") else text


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Write the examples as a package of a user's own, beside a NumPy file of pictures."""
    write_files(FILES, tmp_path, as_plugin)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 90)
    images = generator.integers(0, 40, (90, 8, 8)) + 80 * labels[:, None, None]
    np.savez(tmp_path / "mine.npz", images=images.astype(np.uint8), labels=labels, classes=["low", "middle", "high"])
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "added"]:
        del sys.modules[name]


def test_a_model_a_data_set_a_task_and_a_step_are_shown_each_as_one_file_and_one_yaml():
    assert sorted(name.split("/")[1] for name in FILES) == sorted(2 * ["compression", "data", "model", "task"])
    for name, text in FILES.items():
        if name.endswith(".yaml"):
            module = yaml.safe_load(text)["_target_"].rpartition(".")[0]
            assert module.replace(".", "/") + ".py" in FILES
            assert text.startswith("# ")
        else:
            assert not (ROOT / name).exists(), "an example that ships is no addition any more"


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[1] == "compress"], ids=" ".join)
def test_each_command_compresses(words, added, ptft):
    mine = ("--plugin", "added", "--config-dir", "configs")
    ptft("finetune", *SHORT, "name=trained")
    untimed = ("compression.measure.rounds=1", "compression.measure.memory=false")
    ptft(*words[1:], "compression.steps.round.bits=2", *untimed, *mine, "name=run")
    weights = safetensors.torch.load_file("outputs/run/model/torch/network.safetensors")
    assert all(len(weight.unique()) <= 2**2 + 1 for weight in weights.values() if weight.ndim >= 2)
    with pytest.raises(ConfigError, match="float32 has 24"):
        ptft(*words[1:], "compression.steps.round.bits=30", *mine, "name=no")


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[1] != "compress"], ids=" ".join)
def test_each_command_trains_two_steps(words, added, ptft):
    ptft(*words[1:], "--plugin", "added", "--config-dir", "configs", *SHORT, "name=run")
    run = Path("outputs/run")
    assert (run / "summary.json").is_file()
    chosen = yaml.safe_load((run / "config.yaml").read_text())
    assert any(chosen[group]["_target_"].startswith("added.") for group in ("model", "data", "task"))


def test_the_examples_go_together_with_pretraining_freezing_and_evaluation(added, ptft):
    mine = ("--plugin", "added", "--config-dir", "configs")
    data = ("data=vision/npz", "data.path=mine.npz", "model=vision/conv_mixer", *SHORT)
    ptft("pretrain", *data, "task=vision/rotation", "augmentation=none", "name=ssl", *mine)
    ptft("finetune", *data, "task=focal", "init_from=ssl", "adapt=freeze", "adapt.blocks=2", "name=ft", *mine)
    assert "head re-initialised" in Path("outputs/ft/log.txt").read_text()
    ptft("evaluate", "run=ft", "name=seen", *mine)
    assert Path("outputs/seen/predictions.csv").read_text().startswith("index,label,prediction,score\n")


@pytest.mark.parametrize("override", ["model.depth=0", "model.dept=2", "task.gamma=-1"])
def test_the_types_of_an_example_are_its_check(override, added, ptft):

    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        ptft(
            "finetune",
            "model=vision/conv_mixer",
            "task=focal",
            override,
            "--plugin",
            "added",
            "--config-dir",
            "configs",
        )
    assert not Path("outputs").exists()


def test_data_without_their_file_are_refused_in_words(added, ptft):
    from ptft.errors import ConfigError, DataError

    mine = ("--plugin", "added", "--config-dir", "configs", "name=run")
    with pytest.raises(ConfigError, match=r"data\.path"):
        ptft("finetune", "data=vision/npz", *mine)
    with pytest.raises(DataError, match=r"images and labels"):
        ptft("finetune", "data=vision/npz", "data.path=none.npz", *mine)


def test_the_focal_loss_is_cross_entropy_at_gamma_0_and_what_the_paper_says_at_2(added):
    focal_sum = importlib.import_module("added.task.focal").focal_sum
    logits, label = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])
    plain = torch.nn.functional.cross_entropy(logits, label, reduction="sum")
    torch.testing.assert_close(focal_sum(logits, label, 0.0), plain)
    p = logits.softmax(1)[range(6), label]
    torch.testing.assert_close(focal_sum(logits, label, 2.0), -((1 - p) ** 2 * p.log()).sum())


def test_the_examples_keep_the_style_they_preach(tmp_path):
    for name, text in FILES.items():
        if name.endswith(".py"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    settings = ["--config", str(ROOT / "pyproject.toml")]
    for command in (["check", *settings], ["format", "--check", *settings]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", str(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
