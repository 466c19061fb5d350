"""What a sweep leaves behind: sweep.json and trials.csv that add up, tables, the command that repeats the winner."""

import csv
import dataclasses
import io
import json
import shlex

import pytest
from rich.console import Console as RichConsole

from ptft.engine.console import Console
from ptft.sweep.report import (
    SweepFacts,
    best_point,
    contrast_table,
    failed_table,
    fitted_params,
    reproduce,
    short_params,
    top_table,
    value_text,
    write_sweep,
)
from ptft.sweep.space import read_space
from ptft.sweep.trial import Trial


@pytest.fixture
def facts(tmp_path):
    return SweepFacts(
        name="night", verb="finetune", method="grid", objectives=[("val/accuracy", "max")], shares=(1.0,), total=4,
        seeds=1, base=["experiment=vision/digits", "name=night", "sweep.parallel=2", "engine.seed=4"], folder=tmp_path,
    )  # fmt: skip


def trial(number, value=None, **changes):
    params = {"optimizer.lr": f"1e-{number + 1}", "model": "vision/vgg"}
    state = "done" if value is not None else "failed"
    values = {0: (value,)} if value is not None else {}
    made = {"number": number, "point": number, "seed": 0, "params": params, "state": state, "values": values}
    return Trial(**{**made, **changes})


def seeded(columns):
    """Trials of points with several seeds: a list of values for each."""
    return [
        trial(3 * point + seed, value, point=point, seed=seed, params={"adapt": name})
        for point, (name, values) in enumerate(columns.items())
        for seed, value in enumerate(values)
    ]


def test_the_summary_counts_names_the_best_and_lists_what_failed(facts):
    trials = [trial(0, 0.5), trial(1, 0.9), trial(2, reason="killed by SIGKILL"), trial(3, state="running")]
    summary = write_sweep(facts, trials)
    assert summary == json.loads((facts.folder / "sweep.json").read_text())
    assert summary["counts"] == {"done": 2, "failed": 1, "running": 1, "waiting": 0}
    assert summary["best"]["trial"] == 1 and summary["best"]["run"] == "night/1"
    assert summary["best"]["values"] == {"val/accuracy": 0.9}
    assert summary["failed"] == [{"trial": 2, "reason": "killed by SIGKILL", "params": trials[2].params}]
    assert summary["reproduce"] == reproduce(facts, best_point(facts, trials))


def test_before_anything_has_ended_there_is_no_best(facts):
    empty = dataclasses.replace(facts, objectives=[])
    summary = write_sweep(empty, [trial(0, state="running")])
    assert summary["best"] is None and summary["reproduce"] is None


def test_of_losses_the_least_is_the_best_and_a_longer_training_goes_before(facts):
    losses = dataclasses.replace(facts, objectives=[("val/loss", "min")], shares=(1 / 3, 1.0))
    whole = trial(1, 0.5, rung=1, values={0: (0.9,), 1: (0.5,)})
    assert best_point(losses, [trial(0, 0.1), whole, trial(2, 0.3)]).number == 1


def test_the_command_of_the_winner_is_what_was_typed_without_the_sweep(facts):
    command = reproduce(facts, best_point(facts, [trial(0, 0.5, params={"model.widths": "[8, 16]"})]))
    assert shlex.split(command) == [
        "ptft", "finetune", "experiment=vision/digits", "engine.seed=4", "model.widths=[8, 16]",
    ]  # fmt: skip
    assert "engine.seed" not in reproduce(dataclasses.replace(facts, seeds=3), best_point(facts, [trial(0, 0.5)]))


def test_the_table_of_trials_has_a_row_for_each_and_no_formula(facts):
    odd = trial(1, 0.5, params={"optimizer.lr": "-0.5", "model": "=HYPERLINK(1)"}, seconds=1.5, attempts=2)
    write_sweep(facts, [trial(0, 0.25), odd, trial(2, reason="timeout after 1 minutes")])
    with (facts.folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["val/accuracy"] for row in rows] == ["0.25", "0.5", ""]
    assert rows[1]["optimizer.lr"] == "-0.5" and rows[1]["model"] == "'=HYPERLINK(1)"
    assert rows[1]["seconds"] == "1.500" and rows[1]["attempts"] == "2"
    named = trial(0, 0.5, params={"+model.width": "8"})
    write_sweep(facts, [named])
    assert (facts.folder / "trials.csv").read_text().splitlines()[0].endswith(",'+model.width")
    assert rows[2]["state"] == "failed" and rows[2]["reason"] == "timeout after 1 minutes"


def test_short_values_keep_the_whole_key_where_two_end_alike():
    assert short_params({"optimizer.lr": "0.1", "model": "vision/vgg"}) == "lr=0.1 model=vision/vgg"
    assert short_params({"a.lr": "1", "b.lr": "2"}) == "a.lr=1 b.lr=2"


def test_long_settings_lose_the_folders_and_middles_of_words_but_no_number_and_no_name():
    params = {"optimizer.lr": "0.006341", "model": "vision/vit_tiny_patch16_224", "data.batch_size": "128"}
    assert fitted_params(params, 70) == short_params(params)
    assert fitted_params(params, 55) == "lr=0.006341 model=vit_tiny_patch16_224 batch_size=128"
    assert fitted_params(params, 45) == "lr=0.006341 model=vit_tiny…224 batch_size=128"
    assert fitted_params(params, 10) == "lr=0.006341 model=vi…4 batch_size=128"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9731, "0.9731"),
        (0.0, "0.0000"),
        (0.00001234, "1.234e-05"),
        (-0.004321, "-0.004321"),
        (1234567.0, "1.235e+06"),
    ],
)
def test_a_value_is_told_with_digits_that_say_something(value, text):
    assert value_text(value) == text


def test_half_a_character_in_a_reason_keeps_the_summary_readable(facts):
    trials = [trial(0, 0.5), trial(1, reason="cannot read \udcff.png")]
    write_sweep(facts, trials)
    assert json.loads((facts.folder / "sweep.json").read_text())["failed"][0]["reason"] == "cannot read \udcff.png"


def test_the_best_points_stand_first_with_intervals_over_seeds(facts):
    trials = seeded({"full": [0.9, 0.92, 0.94], "lora": [0.8, 0.8, 0.8]})
    title, rows = top_table(dataclasses.replace(facts, seeds=3), trials)
    assert title == "Best 2 of 2 points of night"
    assert [row["trial"] for row in rows] == ["0-2", "3-5"]
    assert rows[0]["val/accuracy"] == pytest.approx(0.92) and rows[0]["±"] == pytest.approx(0.0496828)


def test_with_several_objectives_the_front_is_shown(facts):
    both = dataclasses.replace(facts, objectives=[("val/accuracy", "max"), ("val/loss", "min")])
    pairs = [(0.9, 0.5), (0.8, 0.4), (0.7, 0.6)]
    trials = [trial(number, 0.0, values={0: pair}) for number, pair in enumerate(pairs)]
    title, rows = top_table(both, trials)
    assert title.startswith("The front of 3") and [row["trial"] for row in rows] == ["0", "1"]
    assert [one["trial"] for one in write_sweep(both, trials)["front"]] == [0, 1]


def test_what_failed_is_shown_with_its_reason(facts):
    title, rows = failed_table(facts, [trial(0, 0.5), trial(1, reason="out of memory")])
    assert title.startswith("1 failed") and rows[0]["trial"] == "1" and rows[0]["reason"] == "out of memory"


def test_of_many_that_failed_the_first_are_shown(facts):
    title, rows = failed_table(facts, [trial(number, reason="out of memory") for number in range(30)])
    assert title.startswith("30 failed, the first 10 here")
    assert [row["trial"] for row in rows] == [str(number) for number in range(10)]


def test_tables_fit_into_80_columns_and_keep_every_setting(facts):
    params = {"optimizer.lr": "0.006341", "optimizer.weight_decay": "0.09491", "data.batch_size": "128"}
    params["model"] = "vision/vit_tiny_patch16_224"
    two = dataclasses.replace(facts, objectives=[("val/accuracy", "max"), ("compression/latency_ms", "min")])
    trials = [trial(0, 0.0, values={0: (0.9, 4.2)}, params=params), trial(1, reason="killed " * 12, params=params)]
    console = Console(RichConsole(file=io.StringIO(), width=80, force_terminal=True, color_system=None))
    for table in (top_table(two, trials), failed_table(two, trials)):
        console.table(*table)
        text = console.rich.file.getvalue()
        assert max(map(len, text.splitlines())) <= 80
        assert all(f"{key.rpartition('.')[2]}=" in text for key in params) and "lr=0.006341" in text


def test_the_values_of_a_setting_are_compared_where_there_are_seeds(facts):
    trials = seeded({"full": [0.9, 0.92, 0.94], "lora": [0.8, 0.81, 0.84]})
    space, _ = read_space(["adapt=full,lora"])
    title, rows = contrast_table(dataclasses.replace(facts, seeds=3), trials, space)
    assert title == "adapt=full wins; the intervals exclude zero"
    assert rows[1]["to winner"] == "-0.1033" and rows[1]["certain"] == "yes"
    assert contrast_table(facts, trials, space) == ("", [])


def test_where_a_value_does_best_is_told_if_that_is_short(facts):
    space, _ = read_space(["adapt=full,lora"])
    for others, shown in (({"optimizer.lr": "1e-3"}, "lr=1e-3"), ({"optimizer.lr": "x" * 30}, None)):
        trials = seeded({"full": [0.9, 0.92, 0.94], "lora": [0.8, 0.81, 0.84]})
        for one in trials:
            one.params.update(others)
        _, rows = contrast_table(dataclasses.replace(facts, seeds=3), trials, space)
        assert [row.get("at") for row in rows] == [shown] * 2
