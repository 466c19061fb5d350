"""The commands from end to end, on the bundled digits: what they leave, what they say, what they refuse."""

import csv
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ptft.command.report import kept, of_a_sweep
from ptft.config.invocation import Invocation
from ptft.errors import CheckpointError, ConfigError, DataError, GateError
from tests.data.files import pictures

QUICK = ("engine.max=40st", "engine.precision=fp32", "engine.batch_size=32", "optimizer.lr=1e-2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with one short fine-tuning run called `ft`, trained once."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "ptft", "finetune", "name=ft", "engine.ema={decay: 0.9}", *QUICK]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def summary(folder, name):
    return json.loads((folder / "outputs" / name / "summary.json").read_text())


def test_a_run_says_by_itself_what_made_it(trained):
    folder, output = trained
    run = folder / "outputs" / "ft"
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "done" and record["exit_code"] == 0
    assert record["command"] == "finetune" and "name=ft" in record["argv"]
    assert record["versions"]["torch"] == torch.__version__
    assert {path.name for path in (run / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    for name in ("config.yaml", "log.txt", "metrics.jsonl", "summary.json", "predictions.csv", "model/labels.json"):
        assert (run / name).is_file(), name
    assert output.rstrip().splitlines()[-2:] == ["run   outputs/ft", "next  ptft evaluate run=ft"]


def test_the_final_table_the_summary_and_the_predictions_agree(trained):
    folder, output = trained
    value = summary(folder, "ft")["metrics"]["test/accuracy"]
    with (folder / "outputs/ft/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == value["n"] == 180
    assert sum(row["label"] == row["prediction"] for row in rows) / 180 == pytest.approx(value["value"])
    assert value["low"] <= value["value"] <= value["high"]
    assert f"{value['value']:.4f}" in output


def test_the_model_folder_loads_elsewhere_and_holds_the_best_average(trained):
    folder, _ = trained
    run = folder / "outputs/ft"
    model = safetensors.torch.load_file(run / "model/model.safetensors")
    step = json.loads((run / "checkpoints/best.json").read_text())["step"]
    state = safetensors.torch.load_file(run / f"checkpoints/step_{step:08d}/state.safetensors")
    for name, tensor in model.items():
        assert torch.equal(tensor, state[f"average/average/model.{name}"]), name
    assert json.loads((run / "model/preprocessing.json").read_text())["classes"] == [str(digit) for digit in range(10)]


def test_evaluate_gives_what_the_run_itself_measured(trained, ptft, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    ptft("evaluate", "run=ft", "name=test")
    before, after = summary(folder, "ft")["metrics"], summary(folder, "test")["metrics"]
    assert {name: entry for name, entry in before.items() if name.startswith("test/")} == after
    ptft("evaluate", "run=ft", "split=val", "name=val", "engine.batch_size=7")
    rows = [json.loads(line) for line in (folder / "outputs/ft/metrics.jsonl").read_text().splitlines()]
    best = summary(folder, "ft")["best_step"]
    logged = next(row for row in rows if row["step"] == best)
    for name, entry in summary(folder, "val")["metrics"].items():
        assert entry["value"] == pytest.approx(logged[name], abs=1e-6), name


def test_a_finished_run_is_left_as_it_is_when_resumed(trained, ptft, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    files = [path for path in (folder / "outputs/ft").rglob("*") if path.is_file() and "metrics" in path.name]
    before = {path: path.read_bytes() for path in [*files, folder / "outputs/ft/summary.json"]}
    ptft("finetune", "resume=ft")
    assert {path: path.read_bytes() for path in before} == before


def test_initial_weights_come_from_a_run_and_are_told(trained, ptft, monkeypatch, capsys):
    folder, _ = trained
    monkeypatch.chdir(folder)
    ptft("finetune", "init_from=ft", "name=second", *QUICK, "engine.max=1st", "adapt=linear_probe")
    output = capsys.readouterr().out
    assert "head taken" in output and "trainable 650 of" in output
    record = json.loads((folder / "outputs/second/run.json").read_text())
    assert record["parents"][0]["name"] == "ft"
    assert record["parents"][0]["checkpoint"] == summary(folder, "ft")["checkpoint"]
    first = safetensors.torch.load_file(folder / "outputs/ft/model/model.safetensors")
    second = safetensors.torch.load_file(folder / "outputs/second/model/model.safetensors")
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed <= {"head.weight", "head.bias"}


def test_a_pretrained_backbone_gets_a_new_head(ptft, capsys):
    ptft("pretrain", "name=ssl", *QUICK, "engine.max=2st")
    ptft("finetune", "init_from=ssl", "name=ft", *QUICK, "engine.max=2st")
    output = capsys.readouterr().out
    assert "head re-initialised" in output
    assert "next  ptft finetune init_from=ssl" in output


def test_after_pretraining_the_next_command_keeps_data_and_model(ptft, capsys, tmp_path):
    pictures(tmp_path / "some where", [f"{n}.png" for n in range(20)])
    ptft(
        "pretrain", "name=ssl", "data=vision/image_folder", f"data.path='{tmp_path}/some where'", "data.size=8",
        "model.widths=[8,8,16]", "engine.max=1st", "optimizer.lr=0.01",
    )  # fmt: skip
    following = capsys.readouterr().out.rstrip().splitlines()[-1]
    expected = "init_from=ssl data=vision/image_folder data.size=8 'model.widths=[8,8,16]' data.path=LABELLED"
    assert following == f"next  ptft finetune {expected}"


def test_what_a_command_keeps_can_still_be_found_and_typed():
    words = {"verb": "pretrain", "argv": (), "config_dir": Path("my conf")}
    typed = ("model=mine", "model.note='a b'", "optimizer.lr=1", "data=x", "data.path=y", "data.size=8")
    assert kept(Invocation(**words, overrides=typed), labelled=True) == [
        "model=mine", shlex.quote("model.note='a b'"), "data=x", "data.path=y", "data.size=8",
        "'--config-dir=my conf'",
    ]  # fmt: skip
    assert kept(Invocation(**words, overrides=("name=x",)), labelled=True) == []


def test_after_raw_text_the_next_command_names_the_model_and_a_table():
    typed = ("data=text/corpus", "data.path=x", "data.layout=pairs", "model.dropout=0", "name=x")
    choices = {"data": "text/corpus", "model": "text/bert_mini"}
    job = Invocation(verb="pretrain", argv=(), overrides=typed, choices=choices)
    assert kept(job, labelled=False) == [
        "model=text/bert_mini", "model.dropout=0", "data=text/table", "data.path=LABELLED",
    ]  # fmt: skip


def test_each_job_of_a_sweep_tells_what_is_its_own():
    words = {"verb": "finetune", "argv": ("ptft", "finetune", "-m", "adapt=full,lora", "name=s")}
    job = Invocation(**words, overrides=("adapt=lora", "name=s"), job=1)
    assert of_a_sweep(job) == ": adapt=lora"
    assert of_a_sweep(Invocation(**words, overrides=("adapt=lora", "name=s"))) == ""


def test_weights_of_another_model_are_refused_before_training(ptft):
    ptft("finetune", "name=a", *QUICK, "engine.max=1st")
    with pytest.raises(CheckpointError, match="init_partial"):
        ptft("finetune", "init_from=a", "name=b", "model=vision/vgg", "model.widths=[8]", "model.depths=[1]", *QUICK)
    assert not Path("outputs/b").exists()


def test_a_command_refused_while_it_is_built_leaves_the_name_free_and_an_old_run_whole(ptft):
    ptft("finetune", "name=a", *QUICK, "engine.max=1st")
    before = {
        path: path.read_bytes() for path in Path("outputs/a").rglob("*") if path.is_file() and path.name != ".lock"
    }
    for name in ("a", "b"):
        with pytest.raises(ConfigError, match="phases"):
            ptft("finetune", f"name={name}", "overwrite=true", "optimizer.phases.foo.lr=1", *QUICK)
    assert not Path("outputs/b").exists()
    after = {
        path: path.read_bytes() for path in Path("outputs/a").rglob("*") if path.is_file() and path.name != ".lock"
    }
    assert after == before


def test_an_evaluation_refused_while_it_is_built_leaves_nothing(ptft):
    ptft("finetune", "name=a", *QUICK, "engine.max=1st")
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        ptft("evaluate", "run=a", "data.split.val=0.5", "data.split.test=0.5")
    assert [path.name for path in Path("outputs").iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["two words", "[red]x", "größe", "a'b"])
def test_the_next_command_can_be_typed_as_it_stands(ptft, capsys, name):
    quoted = name.replace("'", "\\'")
    ptft("finetune", f"name='{quoted}'", *QUICK, "engine.max=1st")
    following = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert following.startswith("next  ptft evaluate ")
    ptft(*shlex.split(following)[2:], "name=again")
    assert summary(Path(), "again")["checkpoint"] == summary(Path(), name)["checkpoint"]


def test_a_run_stopped_before_its_first_checkpoint_starts_again_from_its_weights(ptft, capsys):
    ptft("finetune", "name=a", *QUICK, "engine.max=1st")
    ptft("finetune", "name=b", "init_from=a", *QUICK, "engine.max=2st")
    shutil.rmtree("outputs/b/checkpoints")
    record = json.loads(Path("outputs/b/run.json").read_text())
    Path("outputs/b/run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    capsys.readouterr()
    ptft("finetune", "resume=b")
    assert "initialised from" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]"])
@pytest.mark.parametrize("name", ["summary.json", "model/preprocessing.json"])
def test_damaged_records_of_a_run_are_named(ptft, name, text):
    ptft("finetune", "name=a", *QUICK, "engine.max=1st")
    Path("outputs/a", name).write_text(text)
    command = ("evaluate", "run=a") if "model" in name else ("finetune", "resume=a")
    with pytest.raises(CheckpointError, match=rf"{name} is damaged"):
        ptft(*command)


def test_a_taken_name_is_refused_with_the_three_ways_out(ptft):
    ptft("finetune", "name=a", *QUICK, "engine.max=1st")
    with pytest.raises((ConfigError, CheckpointError), match=r"resume=a[\s\S]*overwrite=true"):
        ptft("finetune", "name=a", *QUICK, "engine.max=1st")
    ptft("finetune", "name=a", "overwrite=true", *QUICK, "engine.max=2st")
    assert summary(Path(), "a")["steps"] == 2


def test_a_gate_that_is_not_met_ends_with_its_own_exit_code(ptft):
    with pytest.raises(GateError, match="test/accuracy") as error:
        ptft("finetune", "name=a", *QUICK, "engine.max=1st", "gate={metric: test/accuracy, min: 0.999}")
    assert error.value.exit_code == 3
    assert summary(Path(), "a")["metrics"]
    ptft("finetune", "name=b", *QUICK, "engine.max=1st", "gate={metric: test/accuracy, min: 0.01}")


def test_a_sweep_runs_every_job_in_a_folder_of_its_own(ptft):
    ptft("finetune", "-m", "name=night", "optimizer.lr=1e-3,1e-2", "engine.seed=0,1", *QUICK[1:3], "engine.max=2st")
    assert sorted(path.parent.name for path in Path("outputs/night").glob("*/summary.json")) == ["0", "1", "2", "3"]


def test_a_diverging_run_stops_and_names_the_step(ptft):
    from ptft.errors import DivergedError

    with pytest.raises(DivergedError, match=r"not finite at step \d+"):
        ptft("finetune", "name=a", "optimizer=sgd", "optimizer.lr=1e30", "model=vision/mlp", "engine.precision=fp32")
    assert json.loads(Path("outputs/a/run.json").read_text())["status"] == "failed"
    ptft(
        *("finetune", "name=b", "optimizer=sgd", "optimizer.lr=1e30", "model=vision/mlp", "engine.precision=fp32"),
        *("engine.on_nonfinite=skip", "engine.max=8st"),
    )


def test_offline_forbids_a_download(ptft, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # put back afterwards
    with pytest.raises(DataError, match="forbids"):
        ptft(
            "finetune",
            "name=a",
            "data=vision/fashion_mnist",
            f"data.path={tmp_path}",
            "data.download=true",
            "offline=true",
        )


def test_few_labels_keep_each_class(ptft, capsys):
    ptft("finetune", "name=a", "data.label_fraction=0.02", *QUICK, "engine.max=1st")
    assert "1,437 train" not in capsys.readouterr().out


def test_a_run_that_a_command_reads_is_never_overwritten(trained, ptft, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in (folder / "outputs/ft").rglob("*"))
    for words in (
        ("finetune", "init_from=ft", *QUICK),
        ("evaluate", "run=ft"),
        ("evaluate", "run=./outputs/../outputs/ft"),
    ):
        with pytest.raises(ConfigError, match="another name"):
            ptft(*words, "name=ft", "overwrite=true")
    assert sorted(path.name for path in (folder / "outputs/ft").rglob("*")) == before


def test_evaluating_on_another_split_is_told(trained, ptft, monkeypatch, capsys):
    folder, _ = trained
    monkeypatch.chdir(folder)
    ptft("evaluate", "run=ft", "name=same")
    assert "too good" not in capsys.readouterr().out
    ptft("evaluate", "run=ft", "name=other", "data.split.seed=5")
    told = " ".join(capsys.readouterr().out.split())
    assert "too good" in told and "Only their test split is judged: split=all judges every example of them" in told
    ptft("evaluate", "run=ft", "name=meant", "data.split.seed=5", "data.allow_changed=true")
    assert "too good" not in capsys.readouterr().out


def test_all_examples_can_be_judged_and_those_trained_on_are_told(trained, ptft, monkeypatch, capsys):
    folder, _ = trained
    monkeypatch.chdir(folder)
    ptft("evaluate", "run=ft", "name=all", "split=all")
    told = " ".join(capsys.readouterr().out.split())
    assert "holds the run's own training examples too" in told
    assert summary(folder, "all")["metrics"]["all/accuracy"]["n"] == 1797
    ptft("evaluate", "run=ft", "name=others", "split=all", "data.split.seed=5", "data.label_fraction=0.1")
    told = " ".join(capsys.readouterr().out.split())
    assert "these are not the data" in told and "Only their" not in told
    ours, theirs = (summary(folder, name)["metrics"]["all/accuracy"] for name in ("all", "others"))
    assert ours == theirs


def test_an_evaluation_gives_the_objective_and_says_what_it_measured(trained, ptft, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    value = ptft("evaluate", "run=ft", "name=loss", "checkpoint=last", "objective=test/loss:min")
    assert value == summary(folder, "loss")["metrics"]["test/loss"]["value"]
    record = json.loads((folder / "outputs/loss/run.json").read_text())
    assert [parent["checkpoint"] for parent in record["parents"]] == [summary(folder, "loss")["checkpoint"]]
    with pytest.raises(ConfigError, match="no metric val/loss"):
        ptft("evaluate", "run=ft", "name=wrong", "objective=val/loss:min")


def test_no_objective_of_several_chooses_on_the_test_split(ptft):
    with pytest.raises(ConfigError, match="read once"):
        ptft("finetune", "name=a", *QUICK, "objective=[val/accuracy:max,test/accuracy:max]")


def test_an_evaluation_hands_its_metrics_to_the_loggers(trained, ptft, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    ptft("evaluate", "run=ft", "name=logged", "logger=tensorboard")
    assert list((folder / "outputs/logged/tensorboard").iterdir())
    row = json.loads((folder / "outputs/logged/metrics.jsonl").read_text())
    assert row["test/accuracy"] == summary(folder, "logged")["metrics"]["test/accuracy"]["value"]
