"""What `ptft evaluate` leaves beside its table: exhibits, groups, explanations; and what it refuses to judge."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ptft.command.groups import column_of, group_by, show_groups, write_groups
from ptft.data.data_module import DataModule
from ptft.data.image_arrays import check_fit, class_difference
from ptft.engine.console import Console
from ptft.engine.evaluate import Evaluation
from ptft.engine.run_dir import RunDirectory
from ptft.errors import ConfigError, DataError
from ptft.metric.classification import ClassificationMetrics
from ptft.metric.frechet import FrechetMetrics
from ptft.task.classification import Classification
from tests.task.toys import SPEC

QUICK = ("engine.max=30st", "engine.precision=fp32", "engine.batch_size=32", "optimizer.lr=1e-2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with one short run called `ft`."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "ptft", "finetune", "name=ft", *QUICK]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def evaluation(label, logits, index=None):
    """Return what evaluating these logits gives."""
    metrics = ClassificationMetrics(SPEC.classes)
    prediction, score = metrics.update(logits, label)
    index = torch.arange(len(label)) if index is None else index
    records = {"index": index, "label": label, "prediction": prediction, "score": score}
    return Evaluation(metrics.compute(), metrics.intervals(), [], records, num_examples=len(label), source=metrics)


@pytest.fixture
def judged():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(3, (90,), generator=generator)
    return evaluation(label, torch.randn(90, 3, generator=generator) + torch.eye(3)[label])


@pytest.mark.drawn
def test_an_evaluation_draws_its_exhibits_and_names_them(trained, ptft, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    ptft("evaluate", "run=ft", "name=drawn", "evaluate.explain=gradcam")
    output = capsys.readouterr().out
    names = {path.name for path in Path("outputs/drawn/report").iterdir()}
    assert {"confusion.png", "confusion.csv", "reliability.png", "mistakes.png", "gradcam.png"} <= names
    assert all(name in output for name in names)
    assert all(path.stat().st_size > 1000 for path in Path("outputs/drawn/report").glob("*.png"))
    assert "Confusion matrix" in output and "\x1b" not in output
    with Path("outputs/drawn/report/confusion.csv").open() as file:
        assert sum(int(row["count"]) for row in csv.DictReader(file)) == 180


def test_pictures_can_be_left_out(trained, ptft, monkeypatch):
    monkeypatch.chdir(trained)
    ptft("evaluate", "run=ft", "name=plain", "evaluate.pictures=false")
    assert [path.name for path in Path("outputs/plain/report").iterdir()] == ["confusion.csv"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("evaluate.explain=gradcm", "did you mean `gradcam`"),
        ("evaluate.pictures=yes please", "true or false"),
        ("evaluate.bye=x", "by"),
        ("evaluate.by=3", "text"),
    ],
)
def test_wrong_settings_are_told_at_the_door(trained, ptft, monkeypatch, setting, told):
    monkeypatch.chdir(trained)
    with pytest.raises(ConfigError, match=told):
        ptft("evaluate", "run=ft", "name=refused", setting)
    assert not Path("outputs/refused").exists()


def test_a_column_that_is_not_there_is_refused_before_anything_is_evaluated(trained, ptft, monkeypatch):
    monkeypatch.chdir(trained)
    with pytest.raises(ConfigError, match="no columns"):
        ptft("evaluate", "run=ft", "name=refused", "evaluate.by=folder")
    assert not Path("outputs/refused").exists()


class Columns(DataModule):
    """Data of which only the columns are looked at."""

    setup = spec = num_examples = train_loader = evaluation_loaders = None

    def attributes(self):
        return {"camera": ("a", "b"), "place": ("x", "y")}


def test_an_unknown_column_is_told_with_those_there_are():
    assert column_of(Columns(), "camera") == ("a", "b")
    with pytest.raises(ConfigError, match=r"did you mean `camera`.*camera, place"):
        column_of(Columns(), "camrea")


def test_each_group_has_the_metrics_of_its_examples_alone_worst_first(judged):
    column = ["good" if number % 3 else "bad" for number in range(90)]
    groups = group_by(judged, column, Classification.headline)
    assert sorted(group.value for group in groups) == ["bad", "good"]
    assert sum(group.evaluation.num_examples for group in groups) == 90
    for group in groups:
        rows = torch.tensor([value == group.value for value in column])
        right = (judged.records["prediction"] == judged.records["label"])[rows]
        assert group.evaluation.metrics["accuracy"] == pytest.approx(float(right.double().mean()))
    values = [group.evaluation.metrics["accuracy"] for group in groups]
    assert values == sorted(values)


def test_one_group_of_all_is_the_whole_evaluation(judged):
    (group,) = group_by(judged, ["all"] * 90, Classification.headline)
    assert group.evaluation.metrics == judged.metrics and group.evaluation.intervals == judged.intervals


def test_groups_are_shown_up_to_a_screen_and_all_written(judged, tmp_path, capsys):
    column = [f"=[red]{number % 30}\x1b" for number in range(90)]
    groups = group_by(judged, column, Classification.headline)
    show_groups(Console(), "By", "kind", groups, Classification.headline)
    output = capsys.readouterr().out
    assert "and 10 more" in output and "\x1b" not in output and "[red]" in output
    assert max(map(len, output.splitlines())) <= 80
    run = RunDirectory(tmp_path, {})
    assert write_groups(run, "../kind of", groups) == "by_.._kind_of.csv"
    with (tmp_path / "report/by_.._kind_of.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30 and sum(int(row["n"]) for row in rows) == 90
    assert float(rows[0]["accuracy"]) <= float(rows[-1]["accuracy"])
    assert all(row["../kind of"].startswith("'=") for row in rows)


def test_metrics_of_all_examples_together_have_no_groups():
    whole = Evaluation({"frechet": 1.0}, records={"index": torch.arange(4)}, source=FrechetMetrics())
    with pytest.raises(ConfigError, match=r"leave evaluate\.by out"):
        group_by(whole, ["a"] * 4, Classification.headline)


# ---- Data that do not fit the run ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("b", "a", "c"), "another order: class 0 is `a` for the model, `b` for the data"),
        (("a", "c"), r"`b` missing in the data \(3 and 2 classes\)"),
        (("a", "b", "c", "d"), "`d` missing in the model"),
        ((), "the data have no labels, and the model was made for 3 classes"),
        (("a", "b", "\x1b"), r"`\\x1b` missing in the model, `c` missing in the data"),
    ],
)
def test_classes_that_do_not_fit_are_told_exactly(classes, told):
    from dataclasses import replace

    with pytest.raises(DataError, match=told):
        check_fit(replace(SPEC, classes=classes), SPEC, "toys")


def test_long_lists_of_classes_are_cut():
    assert "and 95 more" in class_difference([str(n) for n in range(100)], (), "one", "two")
    assert class_difference(("a",), ("a",), "one", "two") == ""


def test_a_run_is_not_evaluated_on_other_data(trained, ptft, monkeypatch):
    monkeypatch.chdir(trained)
    path = Path("outputs/ft/model/preprocessing.json")
    saved = path.read_text()
    values = json.loads(saved)
    try:
        path.write_text(json.dumps({**values, "classes": [*values["classes"][1:], "0"]}))
        with pytest.raises(DataError, match="another order: class 0 is `1` for the model, `0` for the data"):
            ptft("evaluate", "run=ft", "name=refused")
        path.write_text(json.dumps({**values, "shape": [1, 9, 9]}))
        with pytest.raises(DataError, match=r"shape \(1, 9, 9\), the data have \(1, 8, 8\)"):
            ptft("evaluate", "run=ft", "name=refused")
    finally:
        path.write_text(saved)
    assert not Path("outputs/refused").exists()


def test_a_model_without_a_map_says_so_after_its_table(ptft, capsys):
    ptft("finetune", "name=flat", "model=vision/mlp", *QUICK[1:], "engine.max=2st")
    with pytest.raises(ConfigError, match="no block of"):
        ptft("evaluate", "run=flat", "name=explained", "evaluate.explain=gradcam")
    assert json.loads(Path("outputs/explained/summary.json").read_text())["metrics"]
