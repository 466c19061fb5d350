"""`ptft compress` from the command line: stages, gate, search, artefacts that are evaluated and predicted with."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from ptft.cli import _Command
from ptft.config.hydra_app import _for_hydra, launch
from ptft.errors import ConfigError, GateError, Interrupted, PtftError
from tests.samples import image_folder

TRAINED = ("finetune", "engine.max=40st", "engine.precision=fp32", "optimizer.lr=1e-2", "name=ft")
QUICK = ("compression.measure.rounds=1", "compression.measure.batch_sizes=[1,4]", "compression.measure.memory=false")
PRUNED = (
    "compression=prune_int8", "compression.steps.prune.ratio=0.4", "compression.steps.prune.iterations=1",
    "compression.steps.prune.recover=10st", "compression.steps.prune.samples=64", "compression.steps.int8.samples=64",
    *QUICK,
)  # fmt: skip


def call(verb, *arguments):
    """Run a ptft command in this process and return what it gives."""
    kept = []
    launch(verb, list(arguments), lambda config, invocation: kept.append(_Command(verb)(config, invocation)))
    return _for_hydra(kept[0]) if kept else None


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a trained run, `ft`, and the same compressed, `small`; made once."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        call(*TRAINED)
        call("compress", "run=ft", *PRUNED, "compression.measure.memory=true", "name=small")
    return place


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of it that a test may change."""
    shutil.copytree(made / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path):
    return json.loads(Path(path).read_text())


def test_every_stage_is_measured_and_the_last_is_delivered(here):
    summary = read("outputs/small/summary.json")
    assert summary["delivered"] == "int8"
    assert [one["name"] for one in summary["measured"]] == ["parent, eager", "parent", "prune", "int8"]
    eager, parent, prune, int8 = summary["measured"]
    assert eager["drop"] == parent["drop"] == 0 and parent["agreement"] == 1.0
    assert prune["multiply_adds"] <= 0.65 * parent["multiply_adds"]
    assert int8["bytes"] < 0.6 * prune["bytes"] < 0.6 * parent["bytes"]
    assert all(one["latency"]["1"]["p50"] > 0 and one["peak_memory"] > 1e6 for one in summary["measured"])
    assert {"test/accuracy", "test/accuracy.parent", "test/accuracy.difference", "val/accuracy"} <= set(
        summary["metrics"]
    )
    record = read("outputs/small/run.json")
    assert (record["status"], record["exit_code"]) == ("done", 0)
    assert record["parents"][0]["name"] == "ft"


def test_reported_sizes_and_parameters_are_the_counted_ones(here):
    import safetensors.torch

    int8 = read("outputs/small/summary.json")["measured"][-1]
    assert int8["bytes"] == Path("outputs/small/model/model.onnx").stat().st_size
    tensors = safetensors.torch.load_file("outputs/small/model/torch/network.safetensors")
    counted = sum(t.numel() for n, t in tensors.items() if not n.endswith(("running_mean", "running_var", "tracked")))
    assert int8["parameters"] == counted


def test_what_a_person_looks_at_is_there(here):
    report = Path("outputs/small/report")
    assert (report / "compression.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((report / "compression.csv").read_text().splitlines()))
    assert [row["stage"] for row in rows][-1] == "int8"
    card = Path("outputs/small/model/README.md").read_text()
    for word in ("ptft predict run=small", "ft", "prune", "PruneChannels", "onnxruntime", "labels.json"):
        assert word in card


def test_evaluating_goes_through_the_artefact_and_gives_the_numbers_of_the_summary(here, monkeypatch):
    from ptft.command.build import Builder

    monkeypatch.setattr(Builder, "task", None)  # no network of ours is built
    value = call("evaluate", "run=small", "name=again")
    assert value == read("outputs/small/summary.json")["metrics"]["test/accuracy"]["value"]
    assert call("evaluate", "run=small", "checkpoint=parent", "name=parent") == pytest.approx(
        read("outputs/small/summary.json")["metrics"]["test/accuracy.parent"]["value"]
    )


def test_two_runs_one_of_them_compressed_are_compared(here):
    difference = call("evaluate", "run=ft,small", "name=both")
    metrics = read("outputs/small/summary.json")["metrics"]
    assert difference == pytest.approx(metrics["test/accuracy.difference"]["value"])


def test_predicting_builds_no_network_of_ours(here, monkeypatch):
    from ptft.command.build import Builder

    monkeypatch.setattr(Builder, "task", None)
    folder = image_folder(Path("pictures"))
    call("predict", "run=small", f"input={folder}", "output=said.jsonl")
    rows = [json.loads(line) for line in Path("said.jsonl").read_text().splitlines()]
    assert rows and all(row["prediction"] in "0123456789" for row in rows)


def test_a_stage_that_there_is_not_is_told_with_those_there_are(here):
    with pytest.raises(Exception, match=r"has the stages parent, prune, int8"):
        call("evaluate", "run=small", "checkpoint=nope")


def test_a_damaged_artefact_is_named(here):
    file = Path("outputs/small/model/model.onnx")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(Exception, match=r"model\.onnx"):
        call("evaluate", "run=small")


def test_a_ruined_calibration_breaks_the_gate_and_the_parent_is_delivered(here):
    with pytest.raises(GateError, match=r"int8 \(lost .*delivered is the best that passes: parent") as caught:
        call("compress", "run=ft", "name=bad", "compression.steps.int8.scale=0.01", "compression.max_drop=1", *QUICK)
    assert caught.value.exit_code == 3
    record = read("outputs/bad/run.json")
    assert (record["status"], record["exit_code"], record["delivered"]) == ("done", 3, "parent")
    assert call("evaluate", "run=bad", "name=e") == pytest.approx(
        read("outputs/bad/summary.json")["metrics"]["test/accuracy.parent"]["value"]
    )


def test_a_network_that_breaks_the_gate_is_not_built_on(here):
    with pytest.raises(GateError, match="prune"):
        call("compress", "run=ft", "name=much", *PRUNED, "compression.steps.prune.ratio=0.95",
             "compression.steps.prune.recover=null", "compression.max_drop=5")  # fmt: skip
    stages = {path.parent.name: read(path) for path in Path("outputs/much/stages").glob("*/stage.json")}
    assert stages["1_prune"]["passed"] is False
    assert stages["2_int8"]["source"] == "parent" and stages["2_int8"]["passed"] is True
    assert read("outputs/much/summary.json")["delivered"] == "int8"


def test_a_search_delivers_the_front_and_the_smallest_that_passes(here):
    call("compress", "run=ft", "name=found", *PRUNED, "compression.search=true", "compression.ratios=[0.2,0.4]",
         "compression.max_drop=60")  # fmt: skip
    summary = read("outputs/found/summary.json")
    names = [one["name"] for one in summary["measured"]]
    assert {"parent", "int8", "prune-0.2", "int8-0.2", "prune-0.4", "int8-0.4"} <= set(names)
    passing = [one for one in summary["measured"][1:] if one["passed"]]
    assert summary["delivered"] == min(passing, key=lambda one: one["bytes"])["name"]
    front = {path.name for path in Path("outputs/found/front").iterdir()}
    assert front == set(summary["front"]) - {"parent, eager"}
    told = Path("outputs/found/log.txt").read_text()
    assert re.search(r"smallest that passes: \S+ \([\d.]+ kB\); fastest: \S+ \((?!0\.000)[\d.]+ ms at batch 1\)", told)


def test_a_stopped_compression_goes_on_after_its_last_stage_with_the_same_artefacts(here, monkeypatch):
    from ptft.compression.steps.int8_static import Int8Static

    whole = Int8Static.apply

    def stop(*arguments, **settings):
        raise Interrupted("stopped", 130)

    monkeypatch.setattr(Int8Static, "apply", stop)
    with pytest.raises(Interrupted, match=r"go on with: ptft compress run=ft .* name=again"):
        call("compress", "run=ft", *PRUNED, "name=again")
    assert read("outputs/again/run.json")["status"] == "interrupted"
    pruned = Path("outputs/again/stages/1_prune/stage.json")
    before = pruned.stat().st_mtime_ns
    monkeypatch.setattr(Int8Static, "apply", whole)
    call("compress", "run=ft", *PRUNED, "name=again")
    assert pruned.stat().st_mtime_ns == before
    for name in ("artefact/model.onnx", "network.safetensors"):
        stages = [Path("outputs", run, "stages/1_prune", name).read_bytes() for run in ("small", "again")]
        assert stages[0] == stages[1]
    assert read("outputs/again/summary.json")["delivered"] == "int8"


def test_a_recovery_that_was_stopped_goes_on_from_its_checkpoint(here, monkeypatch):
    from ptft.engine.engine import Engine

    save = Engine.save

    def save_then_stop(self, is_best):
        save(self, is_best)
        if "again" in str(self.store.directory) and self.step == 5:
            raise Interrupted("stopped", 130)

    monkeypatch.setattr(Engine, "save", save_then_stop)
    with pytest.raises(Interrupted):
        call("compress", "run=ft", *PRUNED, "name=again")
    monkeypatch.setattr(Engine, "save", save)
    call("compress", "run=ft", *PRUNED, "name=again")
    stages = [Path("outputs", run, "stages/1_prune/network.safetensors").read_bytes() for run in ("small", "again")]
    assert stages[0] == stages[1]


def test_a_stopped_compression_is_not_gone_on_with_otherwise(here):
    record = read("outputs/small/run.json")
    Path("outputs/small/run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    with pytest.raises(ConfigError, match=r"compression\.steps\.prune\.ratio=0\.4, and now it is 0\.3"):
        call("compress", "run=ft", *PRUNED, "compression.steps.prune.ratio=0.3", "name=small")


def test_a_finished_compression_is_not_written_over(here):
    with pytest.raises(ConfigError, match="overwrite=true"):
        call("compress", "run=ft", *PRUNED, "name=small")


def test_what_cannot_be_done_is_told_before_anything_is_trained(here):
    with pytest.raises(ConfigError, match=r"compression\.steps\.prune: ConvNet"):
        call("compress", "run=ft", "compression=prune_heads_int8", "name=no")
    with pytest.raises(ConfigError, match="compressed already"):
        call("compress", "run=small", "name=no")
    with pytest.raises(ConfigError, match="needs a step with a ratio"):
        call("compress", "run=ft", "compression=int8", "compression.search=true", "name=no")
    assert not Path("outputs/no").exists()


def test_a_task_without_an_answer_in_its_export_is_refused(ptft):
    short = ("engine.max=2st", "engine.batch_size=8", "engine.evaluation_batches=1", "engine.precision=fp32")
    ptft("pretrain", "task=vision/rotation", "augmentation=none", *short, name="ssl")
    with pytest.raises(ConfigError, match="Fine-tune the network on labels first"):
        ptft("compress", "run=ssl", name="no")
    assert not Path("outputs/no").exists()


def test_validation_and_test_data_change_no_scale_of_a_calibration(here, monkeypatch):
    from ptft.data.in_memory import InMemoryImages

    loaders = InMemoryImages.evaluation_loaders

    def perturbed(self, plan):
        return {
            name: batches if name == "train" else [{**batch, "image": -3 * batch["image"]} for batch in batches]
            for name, batches in loaders(self, plan).items()
        }

    monkeypatch.setattr(InMemoryImages, "evaluation_loaders", perturbed)
    quick = ("compression.steps.int8.samples=64", *QUICK)
    call("compress", "run=ft", "compression=int8", *quick, "name=other")
    monkeypatch.setattr(InMemoryImages, "evaluation_loaders", loaders)
    call("compress", "run=ft", "compression=int8", *quick, "name=same")
    files = [Path("outputs", name, "model/model.onnx").read_bytes() for name in ("other", "same")]
    assert files[0] == files[1]
    accuracies = [
        read(f"outputs/{name}/summary.json")["metrics"]["val/accuracy"]["value"] for name in ("other", "same")
    ]
    assert accuracies[0] < accuracies[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["compression=prune", "compression.steps.prune.recover=25%"], r"steps\.prune: recover=25% is a share"),
        (["compression.steps.int8.exclude=['(']"], r"steps\.int8: .*is no regular expression"),
        (["data.split.seed=7"], "data.allow_changed=true"),
        (["compression=sparse", "+compression/steps@compression.steps.late=low_rank"], "put sparse last"),
        (["compression=prune", "compression.recovery.attention=1"], "attention"),
        (
            ["compression=prune", "+compression/steps@compression.steps.late=low_rank", "compression.search=true"],
            "put late before it",
        ),
    ],
)
def test_what_would_fail_later_is_told_first(here, settings, words):
    with pytest.raises(PtftError, match=words):
        call("compress", "run=ft", *settings, "name=no")
    assert not Path("outputs/no").exists()


def test_the_latest_trained_run_is_compressed_also_when_typed_again(here, monkeypatch):
    from ptft.command import compress

    monkeypatch.setattr(compress, "weigh", lambda pipeline: (_ for _ in ()).throw(Interrupted("stopped", 130)))
    with pytest.raises(Interrupted, match=r"run=outputs/ft name=again|run=outputs/ft .*name=again"):
        call("compress", "run=@latest", "compression=fp16", *QUICK, "name=again")
    monkeypatch.undo()
    monkeypatch.chdir(here)
    call("compress", "run=@latest", "compression=fp16", *QUICK, "name=again")
    assert read("outputs/again/summary.json")["delivered"] == "fp16"


def test_an_artefact_is_no_teacher_and_no_beginning(here):
    with pytest.raises(PtftError, match="init_from=ft"):
        call("finetune", "init_from=small", "engine.max=1st", "name=no")
    with pytest.raises(PtftError, match="pretrain or finetune"):
        call("finetune", "distil.teacher=small", "engine.max=1st", "name=no")


def test_int8_that_loses_too_much_is_trained(here):
    call("compress", "run=ft", "compression=int8", "compression.steps.int8.scale=0.05", "compression.max_drop=20",
         "compression.steps.int8.qat=20st", "compression.steps.int8.samples=64", *QUICK, "name=trained")  # fmt: skip
    assert sorted(path.name for path in Path("outputs/trained/stages/1_int8/artefact").iterdir()) == [
        "artefact.json", "model.onnx",
    ]  # fmt: skip
    assert read("outputs/trained/summary.json")["delivered"] == "int8"
