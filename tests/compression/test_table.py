import csv
import dataclasses
import io
import json
import math

import pytest
from rich.console import Console as RichConsole

from ptft.compression.latency import Latency
from ptft.compression.stage_result import Score, StageResult, drop_of, pareto, speedup, times_smaller
from ptft.compression.table import csv_text, digits, escape_markdown, human, markdown, notes, rows
from ptft.engine.console import Console
from ptft.errors import CheckpointError
from tests.compression.stages import ACCURACY, FACTS, LOSS, latency, pipeline, stage


def shown(results, spec=ACCURACY, width=80):
    """What the console prints of all tables."""
    text = io.StringIO()
    console = Console(RichConsole(file=text, width=width, highlight=False))
    for title, table in rows(results, spec).items():
        console.table(title, table)
    return text.getvalue()


@pytest.mark.parametrize("result", pipeline(), ids=lambda result: result.name)
def test_a_result_comes_back_from_json_as_it_was(result):
    result = dataclasses.replace(result, test=Score(0.9), note="a|b", sparsity=0.25)
    assert StageResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_metric_that_is_no_number_comes_back_from_null():
    values = json.loads(json.dumps(stage("ruined", validation=Score(math.nan), drop=math.nan).to_json()))
    values["validation"]["value"] = values["drop"] = None
    found = StageResult.from_json(values)
    assert math.isnan(found.validation.value) and math.isnan(found.drop)


@pytest.mark.parametrize("damage", [{"latency": 3}, {"latency": {"a": {}}}, {"validation": None}, {"more": 1}])
def test_values_that_are_no_result_are_refused(damage):
    with pytest.raises(CheckpointError, match="cannot be read back"):
        StageResult.from_json({**stage("a").to_json(), **damage})


def test_a_speed_up_is_told_against_eager_and_against_the_same_runtime():
    def of(*rounds):
        return {1: Latency(1.0, 1.0, 1, rounds)}

    eager = stage("parent", runtime="PyTorch", parent=True, latency=of(8.0, 10.0, 90.0))
    onnx = stage("parent in ONNX", parent=True, latency=of(4.0, 4.0, 45.0))
    int8 = stage("int8", precision="int8", latency=of(1.0, 2.0, 9.0))
    vino = stage("vino", runtime="OpenVINO", latency=of(2.0, 2.0, 2.0))
    results = [eager, onnx, int8, vino]
    assert speedup(results, int8, 1).eager == 8.0  # of 8, 5, 10
    assert speedup(results, int8, 1).runtime == 4.0  # of 4, 2, 5
    assert speedup(results, vino, 1).eager == 5.0
    assert speedup(results, vino, 1).runtime is None  # no parent ran in OpenVINO
    assert speedup(results, int8, 32).eager is None
    assert speedup(results, eager, 1).runtime == 1.0


def test_smaller_is_told_against_the_first_parent():
    results = [stage("a", bytes=1000, parent=True), stage("b", bytes=1100, parent=True), stage("c", bytes=50)]
    assert [times_smaller(results, one) for one in results] == [1.0, pytest.approx(1000 / 1100), 20.0]


def test_a_drop_is_in_points_or_in_percent_where_less_is_better():
    assert drop_of(ACCURACY, 0.93, 0.92) == pytest.approx(1.0)
    assert drop_of(ACCURACY, 0.93, 0.94) == pytest.approx(-1.0)
    assert drop_of(LOSS, 2.0, 2.5) == pytest.approx(25.0)
    assert drop_of(LOSS, -2.0, -1.0) == pytest.approx(50.0)
    assert drop_of(LOSS, 0.0, 0.1) == math.inf and drop_of(LOSS, 0.0, 0.0) == 0.0


def test_pareto_names_what_no_other_beats():
    def point(name, drop, milliseconds, size):
        return stage(name, drop=drop, latency={1: latency(milliseconds)}, bytes=size)

    results = [
        point("exact", 0.0, 10, 100),
        point("beaten", 0.0, 11, 100),
        point("fast", 0.5, 1, 90),
        point("small", 0.6, 5, 10),
        point("beaten by two", 0.7, 6, 95),
        point("equal to fast", 0.5, 1, 90),
        point("no number", math.nan, 0.1, 1),
        stage("never run", latency={}, bytes=1),
    ]
    assert pareto(results, 1) == {"exact", "fast", "small", "equal to fast"}
    assert pareto([], 1) == set()


@pytest.mark.parametrize("spec", [ACCURACY, LOSS])
def test_the_tables_fit_a_terminal_of_80_columns_without_a_broken_cell(spec):
    long = dataclasses.replace(pipeline()[-1], name="a_step_with_a_name_that_goes_on_and_on_and_on", sparsity=0.5)
    text = shown([*pipeline(), long], spec)
    assert max(map(len, text.splitlines())) <= 80
    # A wrapped cell would make a row of two lines.
    tables = rows([*pipeline(), long], spec)
    assert len(text.splitlines()) == sum(5 + len(table) for table in tables.values())
    assert "…" in text


def test_the_tables_say_what_was_measured():
    tables = rows(pipeline(), ACCURACY)
    assert list(tables) == [
        "size",
        "speed at batch 1",
        "speed and memory at batch 32",
        "quality on validation (drop in points)",
    ]
    cells = {title: {k: str(v) for k, v in table[-1].items()} for title, table in tables.items()}
    assert cells["size"] == {
        "stage": "int8",
        "runs in": "ONNX int8",
        "params": "146 k",
        "MACs": "7.90 M",
        "file": "161 kB",
        "smaller": "14.6x",
    }
    fast = cells["speed at batch 1"]
    assert fast["p50 ms"] == "0.160" and fast["items/s"] == "6.25 k"
    assert float(fast["vs eager"][:-1]) == pytest.approx(2.31 / 0.16, rel=0.05)
    assert float(fast["vs fp32"][:-1]) == pytest.approx(0.94 / 0.16, rel=0.05)
    assert cells["speed and memory at batch 32"]["memory"] == "112 MB"
    quality = cells["quality on validation (drop in points)"]
    assert quality == {
        "stage": "int8",
        "accuracy": "90.97",
        "95% interval": "90.41 to 91.52",
        "drop": "0.26",
        "agrees": "97.1%",
        "gate": "passed",
    }


def test_a_loss_is_told_with_its_drop_in_percent():
    results = [stage("parent", runtime="PyTorch", parent=True, validation=Score(2.31))]
    results += [stage("int8", validation=Score(2.4, 2.35, 2.45), drop=drop_of(LOSS, 2.31, 2.4))]
    last = rows(results, LOSS)["quality on validation (drop in %)"][-1]
    assert {k: str(v) for k, v in last.items()} == {
        "stage": "int8",
        "loss": "2.4",
        "95% interval": "2.35 to 2.45",
        "drop": "3.90",
    }


def test_test_has_a_table_of_its_own_once_it_was_looked_at():
    parent, *_, last = pipeline()
    results = [dataclasses.replace(parent, test=Score(0.912)), dataclasses.replace(last, test=Score(0.909)), stage("b")]
    table = rows(results, ACCURACY)["quality on test (drop in points)"]
    assert [(row["stage"], str(row["drop"])) for row in table] == [("parent", ""), ("int8", "0.30")]


def test_zeros_and_notes_are_told_where_there_are_some():
    sparse = stage("sparse", sparsity=0.8, note="zeros alone give no speed\nat all")
    assert str(rows([sparse], ACCURACY)["size"][0]["zeros"]) == "80.0%"
    assert notes([stage("a"), sparse]) == ["sparse: zeros alone give no speed\\nat all"]


def test_stages_that_were_not_run_leave_their_cells_empty():
    results = [stage("a", latency={1: latency(2)}), stage("b", latency={}, multiply_adds=None)]
    assert str(rows(results, ACCURACY)["speed at batch 1"][1]["p50 ms"]) == ""
    assert csv_text(results, ACCURACY, FACTS).count("\n") == 3


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (585_354, "", "585 k"),
        (32_110_000, "", "32.1 M"),
        (2_345_678, "B", "2.35 MB"),
        (999_600, "", "1.00 M"),
        (999.6, "", "1.00 k"),
        (850, "", "850"),
        (850, "B", "850 B"),
        (0, "B", "0 B"),
        (12.34, "", "12.3"),
        (1.1e9, "", "1.10 G"),
    ],
)
def test_numbers_are_told_in_three_digits_with_a_prefix(value, unit, text):
    assert human(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.2141, "0.214"), (9.999, "10.0"), (99.96, "100"), (1234.5, "1234"), (0.9999, "1.00")]
)
def test_three_digits_are_kept_over_a_rounding(value, text):
    assert digits(value) == text


def test_csv_holds_every_column_in_plain_units_and_the_machine():
    results = [*pipeline(), stage("=1+1", note="@a")]
    found = list(csv.DictReader(io.StringIO(csv_text(results, ACCURACY, FACTS))))
    assert [row["stage"] for row in found[:2]] == ["parent", "parent in ONNX"]
    last = found[5]
    assert float(last["p50_seconds_1"]) == pipeline()[5].latency[1].p50
    assert int(last["bytes"]) == 161_000 and last["passed"] == "True"
    assert float(last["times_faster_than_fp32_32"]) == speedup(results, results[5], 32).runtime
    assert last["cpu_flags"] == "avx2 avx512f" and last["threads"] == "2"
    assert found[6]["stage"] == "'=1+1" and found[6]["note"] == "'@a"


def test_markdown_has_all_tables_and_the_machine():
    text = markdown(pipeline(), ACCURACY, FACTS)
    assert "| stage | runs in | params | MACs | file | smaller |\n| --- | --- | ---: | ---: | ---: | ---: |" in text
    assert "| int8 | ONNX int8 | 146 k | 7.90 M | 161 kB | 14.6x |" in text
    assert "cpu Some CPU; cpu\\_flags" not in text and "threads 2" in text and "avx2 avx512f" in text
    assert "Not beaten in metric, latency at batch 1 and size: " in text


def test_markdown_shows_names_from_data_as_they_are():
    text = markdown([stage("a|b`c`\n<script>[x](y) _z_ low_rank $m$")], ACCURACY, FACTS)
    line = next(line for line in text.splitlines() if "script" in line)
    assert line.startswith(r"| a\|b\`c\` \<script\>\[x\](y) \_z\_ low_rank \$m\$ | ONNX fp32 |")


def test_escaped_text_is_one_line_without_control_characters():
    assert escape_markdown("a\nb\x1b[0m") == r"a b\\x1b\[0m"
