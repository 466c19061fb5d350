"""`ptft evaluate run=a,b`: both sides as each alone, differences paired by example, and what cannot be compared."""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ptft.command.compare import difference
from ptft.command.same_examples import check_examples, check_tasks
from ptft.engine.evaluate import Evaluation
from ptft.errors import ConfigError, DataError, GateError
from ptft.metric.bootstrap import paired_difference
from ptft.metric.mcnemar import exact_p_value
from ptft.task.classification import Classification
from ptft.task.vision.rotation import Rotation, RotationMetrics
from tests.command.test_evaluate import evaluation
from tests.task.toys import SPEC, TinyNet

QUICK = ("engine.precision=fp32", "engine.batch_size=32", "optimizer.lr=1e-2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with short runs: `long`, `short`, `fewer` (labels), `moved` (split) and `turned` (another task)."""
    folder = tmp_path_factory.mktemp("trained")
    runs = {
        "long": ("finetune", "engine.max=40st"),
        "short": ("finetune", "engine.max=10st"),
        "fewer": ("finetune", "engine.max=4st", "data.label_fraction=0.1"),
        "moved": ("finetune", "engine.max=2st", "data.split.seed=5"),
        "turned": ("pretrain", "engine.max=2st", "task=vision/rotation", "augmentation=none"),
    }
    code = (
        "import json, sys\nfrom ptft.cli import _Command\nfrom ptft.config.hydra_app import launch\n"
        "for verb, *words in json.loads(sys.argv[1]): launch(verb, words, _Command(verb))"
    )
    words = json.dumps([[verb, f"name={name}", *QUICK, *rest] for name, (verb, *rest) in runs.items()])
    done = subprocess.run([sys.executable, "-c", code, words], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(trained, ptft, monkeypatch):
    monkeypatch.chdir(trained)
    return ptft


def read(name, file="summary.json"):
    return json.loads(Path("outputs", name, file).read_text())


def test_both_sides_are_as_each_alone_and_the_difference_is_paired(here, capsys):
    for name in ("long", "short"):
        here("evaluate", f"run={name}", f"name={name}-alone", "evaluate.pictures=false")
    objective = here("evaluate", "run=long,short", "name=both")
    output = capsys.readouterr().out
    alone = [read(f"{name}-alone")["metrics"] for name in ("long", "short")]
    both = read("both")["metrics"]
    for letter, metrics in zip("ab", alone, strict=True):
        assert {name: both[f"{name}.{letter}"] for name in metrics} == metrics
    change = both["test/accuracy.b-a"]
    assert objective == change["value"] == alone[1]["test/accuracy"]["value"] - alone[0]["test/accuracy"]["value"]
    with Path("outputs/both/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "label", "prediction.a", "score.a", "prediction.b", "score.b"]
    first, second = (torch.tensor([row["label"] == row[f"prediction.{side}"] for row in rows]) for side in "ab")
    value, low, high = paired_difference(first.double(), second.double())
    assert change["value"] == pytest.approx(value)
    assert (change["low"], change["high"]) == pytest.approx((low, high), abs=0.02)
    other = read("both", "comparison.json")["others"][0]
    only = other["right"]["only_baseline"], other["right"]["only_this"]
    assert only == (int((first & ~second).sum()), int((second & ~first).sum()))
    assert other["mcnemar_p_value"] == exact_p_value(*only)
    assert f"only A {only[0]}, only B {only[1]}" in output and "McNemar" in output
    assert [parent["name"] for parent in read("both", "run.json")["parents"]] == ["long", "short"]
    assert max(map(len, output.splitlines())) <= 110


def test_several_runs_are_compared_with_the_first(here):
    here("evaluate", "run=[short,long,fewer]", "name=three", "split=val")
    assert [other["letter"] for other in read("three", "comparison.json")["others"]] == ["b", "c"]
    assert "val/accuracy.c-a" in read("three")["metrics"]


def test_a_run_with_fewer_labels_judges_the_same_examples(here):
    here("evaluate", "run=long,fewer", "name=labels")
    parents = [json.loads(Path(f"outputs/{name}/run.json").read_text())["fingerprint"] for name in ("long", "fewer")]
    assert parents[0] != parents[1]


def test_other_examples_are_refused(here):
    with pytest.raises(ConfigError, match=r"do not judge the same examples: of \d+ examples \d+ are in both"):
        here("evaluate", "run=long,moved", "name=refused")
    here("evaluate", "run=long,moved", "name=meant", "data.split.seed=0", "data.allow_changed=true")
    assert not Path("outputs/refused").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run=long,turned",), "of the task Classification, B of Rotation"),
        (("run=long,nothing",), "no run called `nothing`"),
        (("run=long,./outputs/long",), "twice"),
        (("run=[long]",), "compares two or more runs"),
        (("run=long,short", "evaluate.by=x"), "told of one run"),
        (("run=long,short", "evaluate.explain=gradcam"), "told of one run"),
        (("run=long,short", "checkpoint=99"), "99"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_leaves_nothing(here, words, told):
    from ptft.errors import PtftError

    with pytest.raises(PtftError, match=told):
        here("evaluate", "name=refused", *words)
    assert not Path("outputs/refused").exists()


def test_a_gate_stands_on_the_difference(here):
    with pytest.raises(GateError, match=r"test/accuracy\.b-a"):
        here("evaluate", "run=long,short", "name=gate", "gate={metric: test/accuracy.b-a, min: 0.5}")


def test_with_a_sweep_the_runs_stay_jobs_of_their_own(here):
    here("evaluate", "-m", "run=long,short", "name=sweep", "evaluate.pictures=false")
    assert sorted(path.parent.name for path in Path("outputs/sweep").glob("*/summary.json")) == ["0", "1"]
    assert not list(Path("outputs/sweep").rglob("comparison.json"))


def test_the_name_tells_both_runs_and_none_of_them_is_overwritten(here):
    here("evaluate", "run=long,short")
    assert [path for path in Path("outputs").iterdir() if path.name.startswith("evaluate-long_vs_short-")]
    with pytest.raises(ConfigError, match="another name"):
        here("evaluate", "run=long,short", "name=short", "overwrite=true")


# ---- The same examples ---------------------------------------------------------------------------------------------


def bench(fingerprint="f", classes=SPEC.classes, pictures=None, **changes):
    """Return as much of a bench as the checks look at."""
    spec = dataclasses.replace(SPEC, fingerprint=fingerprint, classes=classes, **changes)

    def found(index):
        if pictures is None:
            raise DataError("no pictures")
        return pictures[index]

    task = Classification(TinyNet(len(classes)), spec)
    return SimpleNamespace(task=task, split="test", data=SimpleNamespace(spec=spec, pictures=found))


def judged(label, index=None):
    return evaluation(label, torch.eye(3)[label], index)


def check(first, second, one, two, allowed=False):
    check_examples(first, one, second, two, "B", allowed=allowed)


def test_other_labels_are_told_with_an_example():
    label = torch.tensor([0, 1, 2, 0])
    with pytest.raises(ConfigError, match=r"1 of 4 have other labels, as example 2: `c` in A, `a` in B"):
        check(bench(), bench(), judged(label), judged(torch.tensor([0, 1, 0, 0])))


def test_another_order_is_told():
    label, index = torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7])
    with pytest.raises(ConfigError, match="another order"):
        check(bench(), bench(), judged(label, index), judged(label.flip(0), index.flip(0)))


def test_data_of_another_fingerprint_are_looked_at():
    label, pictures = torch.tensor([0, 1, 2]), torch.randint(256, (3, 1, 6, 6), dtype=torch.uint8)
    other = pictures.clone()
    other[1, 0, 0, 0] ^= 1
    same = judged(label), judged(label)
    check(bench("f", pictures=pictures), bench("g", pictures=pictures.clone()), *same)
    for second in (bench("g", pictures=other), bench("g"), bench("g", pictures=pictures, preprocessing={"size": 3})):
        with pytest.raises(ConfigError, match=r"do not judge the same data.*allow_changed=true"):
            check(bench("f", pictures=pictures), second, *same)
        check(bench("f", pictures=pictures), second, *same, allowed=True)


def test_other_classes_are_told():
    with pytest.raises(ConfigError, match="predict other classes: another order: class 0 is `a` for A, `b` for B"):
        check_tasks(bench(), bench(classes=("b", "a", "c")), "B")


def test_rotations_of_one_image_are_no_tosses_of_their_own():
    metrics = [RotationMetrics(None) for _ in range(2)]
    batch = {"index": torch.arange(10)}
    turns = torch.arange(40) % 4
    for side in metrics:
        side.update(torch.randn(40, 4), turns, torch.randn(10, 5), batch)
    records = {"index": batch["index"].repeat_interleave(4), "label": turns, "prediction": turns}
    sides = [Evaluation(side.compute(), records=records, num_examples=10, source=side) for side in metrics]
    found = difference(*sides)
    assert found.counts is None
    low, high = found.intervals[Rotation.headline.name]
    assert low <= found.values["accuracy"][2] <= high
