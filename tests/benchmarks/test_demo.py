"""The demo's comparison, on evaluations made up here; `make demo` itself takes too long for a test."""

import json

import pytest
import yaml

from benchmarks.demo import STEPS, compare, correct, paired_difference
from tests.test_recipes import CONFIGS


def evaluation(folder, right):
    """Write what `ptft evaluate` leaves of an evaluation in which these examples were right."""
    folder.mkdir()
    share = sum(right) / len(right)
    accuracy = {"value": share, "low": share - 0.05, "high": share + 0.05, "n": len(right)}
    (folder / "summary.json").write_text(json.dumps({"metrics": {"test/accuracy": accuracy}}))
    rows = [f"{index},7,{7 if hit else 1},0.9" for index, hit in enumerate(right)]
    (folder / "predictions.csv").write_text("\n".join(["index,label,prediction,score", *rows]) + "\n")
    return folder


def test_the_table_holds_both_sides_and_their_difference(tmp_path):
    tuned = evaluation(tmp_path / "tuned", [True] * 90 + [False] * 10)
    scratch = evaluation(tmp_path / "scratch", [True] * 70 + [False] * 30)
    rows, verdict = compare(tuned, scratch)
    assert [row["test accuracy"] for row in rows] == ["70.0%", "90.0%", "+20.0"]
    assert rows[0]["95% interval"] == "65.0 to 75.0"
    assert "better" in verdict and "above zero" in verdict


def test_a_worse_outcome_is_told_as_it_is(tmp_path):
    tuned = evaluation(tmp_path / "tuned", [True] * 70 + [False] * 30)
    scratch = evaluation(tmp_path / "scratch", [True] * 90 + [False] * 10)
    rows, verdict = compare(tuned, scratch)
    assert rows[2]["test accuracy"] == "-20.0"
    assert verdict.startswith("Training from scratch is better")


def test_no_difference_is_told_as_none(tmp_path):
    tuned = evaluation(tmp_path / "tuned", [index % 2 == 0 for index in range(100)])
    scratch = evaluation(tmp_path / "scratch", [index % 2 == 1 for index in range(100)])
    assert compare(tuned, scratch)[1].startswith("No clear difference")


def test_the_interval_is_that_of_paired_differences():
    # 20 of 400 examples turn right: a standard error of sqrt(p (1 - p) / n) = 1.09 points, if pairs are kept.
    first = dict.fromkeys(range(400), True)
    second = {index: index >= 20 for index in range(400)}
    value, low, high = paired_difference(first, second)
    assert value == pytest.approx(5.0)
    assert (low, high) == (pytest.approx(5.0 - 1.96 * 1.09, abs=0.4), pytest.approx(5.0 + 1.96 * 1.09, abs=0.4))


def test_examples_are_matched_by_their_number(tmp_path):
    (tmp_path / "predictions.csv").write_text("index,label,prediction,score\n9,1,1,0.5\n3,1,2,0.5\n")
    assert correct(tmp_path) == {9: True, 3: False}
    with pytest.raises(ValueError, match="same examples"):
        paired_difference({1: True}, {2: True})


def test_each_step_names_a_recipe_of_its_own_verb_or_a_run_made_before():
    made = set()
    for step in STEPS.values():
        verb, *words = step.split()
        settings = dict(word.split("=", 1) for word in words)
        assert {settings.get("init_from"), settings.get("run")} <= made | {None}
        if verb != "evaluate":
            recipe = (CONFIGS / "experiment" / f"{settings['experiment']}.yaml").read_text()
            assert yaml.safe_load(recipe)["command"] == verb
        made.add(settings["name"])
