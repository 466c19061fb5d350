"""What predictions are decided by: chosen on validation after training, kept with the run, followed by evaluate."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ptft.command.decision import restore_decision
from ptft.errors import DataError
from ptft.task.classification import Classification
from tests.task.toys import SPEC, TinyNet

SETTINGS = ("data=text/table", "data.path=mails.csv", "data.split.val=0.3", "data.split.test=0.3", "model=text/cnn")
QUICK = ("engine.max=12st", "engine.precision=fp32", "engine.batch_size=16", "model.embedding=8", "model.filters=4")
TRAIN = (*SETTINGS, *QUICK, "task.threshold=auto", "task.positive=bad")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of short mails, one in four bad."""
    folder = tmp_path_factory.mktemp("decided")
    draw = np.random.default_rng(0)
    rows = ["text,label"]
    for number in range(80):
        words = draw.choice(["sun", "rain", "win", "now"], size=5, p=[0.1, 0.2, 0.3, 0.4] if number % 4 else [0.25] * 4)
        rows.append(f"{' '.join(words)} {number},{'good' if number % 4 else 'bad'}")
    (folder / "mails.csv").write_text("\n".join(rows))
    return folder


def test_a_threshold_is_chosen_once_kept_and_followed_later(place, ptft, monkeypatch, capsys):
    monkeypatch.chdir(place)
    ptft("finetune", *TRAIN, "name=ft")
    assert "chosen on val: threshold" in capsys.readouterr().out
    threshold = json.loads(Path("outputs/ft/model/decision.json").read_text())["threshold"]
    ptft("evaluate", "run=ft", "name=again", "evaluate.pictures=false")
    first, again = (json.loads(Path(f"outputs/{name}/summary.json").read_text())["metrics"] for name in ("ft", "again"))
    assert first["test/f1_positive"] == again["test/f1_positive"]
    with Path("outputs/again/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    bad = np.array([float(row["score"]) if row["prediction"] == "bad" else 1 - float(row["score"]) for row in rows])
    assert [row["prediction"] == "bad" for row in rows] == (bad >= threshold).tolist()


def test_another_threshold_on_the_command_line_wins(place, ptft, monkeypatch):
    monkeypatch.chdir(place)
    if not Path("outputs/ft/summary.json").is_file():
        ptft("finetune", *TRAIN, "name=ft")
    ptft("evaluate", "run=ft", "name=all", "task.threshold=0", "evaluate.pictures=false")
    with Path("outputs/all/predictions.csv").open() as file:
        assert {row["prediction"] for row in csv.DictReader(file)} == {"bad"}
    with Path("outputs/all/report/mistakes.csv").open() as file:
        assert all({"win", "now", "sun", "rain"} & set(row["text"].split()) for row in csv.DictReader(file))


def test_a_run_that_has_chosen_nothing_yet_says_so(tmp_path):
    two = Classification(TinyNet(2), type(SPEC)(kind="image", shape=(1, 6, 6), classes=("a", "b")), threshold="auto")
    told = []
    restore_decision(two, tmp_path, told.append)
    assert "decision.json" in told[0] and not two.decision
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "decision.json").write_text('{"threshold": 0.25}')
    restore_decision(two, tmp_path, told.append)
    assert two.decided_at == 0.25 and len(told) == 1


def test_a_threshold_of_ten_classes_is_refused_before_training(tmp_path, monkeypatch, ptft):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="two classes"):
        ptft("finetune", "task.threshold=auto")
