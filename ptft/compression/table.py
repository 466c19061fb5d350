"""The table at the end of a compression: for the console in parts of 80 columns, as csv, and as Markdown.

Speed-ups are told twice, against the parent in eager PyTorch and as fp32 in the stage's own runtime: most of a speed-up
may be the runtime alone.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptft.compression.stage_result import (
    Score,
    StageResult,
    batch_sizes,
    drop_of,
    pareto,
    speedup,
    times_smaller,
)
from ptft.runtime.text import one_line, shortened, width_of
from ptft.task.task import MetricSpec

Rows = list[dict[str, Any]]
"""Rows of a table, as `Console.table` takes them."""
_COLUMNS = 80
_FRAME = 3
"""Columns that a table's lines and blanks take beside each cell, and one at the end."""
_SHORTEST = 8
_RUNTIMES = {"ONNX Runtime": "ONNX"}
"""How runtimes are called where there is little room."""
_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~$#!]|(?<![^\W_])_|_(?![^\W_])")


@dataclass(frozen=True)
class Figure:
    """A cell with a number in it; not a string, so that it stands to the right."""

    text: str

    def __str__(self) -> str:
        return self.text


def rows(results: Sequence[StageResult], spec: MetricSpec, *, width: int | None = _COLUMNS) -> dict[str, Rows]:
    """Return tables for people by their titles: size, speed at each batch size, quality, and test if it was looked at.

    Args:
        results: The stages, the parents first.
        spec: The headline metric.
        width: Columns that a table may take with its frame; names are shortened to fit. None: no limit.
    """
    tables = {"size": _sizes(results)}
    sizes = batch_sizes(results)
    for size in sizes:
        memory = size == sizes[-1] and any(result.peak_memory is not None for result in results)
        tables[f"speed{' and memory' * memory} at batch {size}"] = _speeds(results, size, memory)
    unit = "points" if spec.mode == "max" else "%"
    tables[f"quality on validation (drop in {unit})"] = _quality(results, spec)
    if any(result.test is not None for result in results):
        tables[f"quality on test (drop in {unit})"] = _test(results, spec)
    return tables if width is None else {title: _fitting(table, width) for title, table in tables.items()}


def notes(results: Sequence[StageResult]) -> list[str]:
    """Return what a reader should know of single stages, as lines."""
    return [f"{one_line(result.name)}: {one_line(result.note)}" for result in results if result.note]


def csv_text(results: Sequence[StageResult], spec: MetricSpec, facts: Mapping[str, Any]) -> str:
    """Return everything as csv, a row a stage, in plain units: bytes, seconds, the metric's own.

    Args:
        results: The stages.
        spec: The headline metric.
        facts: `machine_facts`; they are the last columns, the same in every row.
    """
    text = io.StringIO()
    records = [{**_record(results, result, spec), **_flat(facts)} for result in results]
    writer = csv.DictWriter(text, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def markdown(results: Sequence[StageResult], spec: MetricSpec, facts: Mapping[str, Any]) -> str:
    """Return all tables as Markdown, then the notes and the machine that it was measured on.

    Args:
        results: The stages.
        spec: The headline metric.
        facts: `machine_facts`.
    """
    parts = []
    for title, table in rows(results, spec, width=None).items():
        parts.append(f"**{escape_markdown(title.capitalize())}**\n\n{_markdown_table(table)}")
    if told := notes(results):
        parts.append("\n".join(f"- {escape_markdown(line)}" for line in told))
    sizes = batch_sizes(results)
    if sizes:
        front = pareto(results, sizes[0])
        named = ", ".join(escape_markdown(result.name) for result in results if result.name in front)
        parts.append(f"Not beaten in metric, latency at batch {sizes[0]} and size: {named}.")
    parts.append(f"Measured on: {'; '.join(f'{k} {escape_markdown(v)}' for k, v in _flat(facts).items())}.")
    return "\n\n".join(parts) + "\n"


def escape_markdown(text: object) -> str:
    """Return a text from data as one line of Markdown that shows as it is: no table, code, link or tag begins in it."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(str(text).replace("\n", " ")))


# ---- Units ---------------------------------------------------------------------------------------------------------


def human(value: float, unit: str = "") -> str:
    """Return a number in three digits with a decimal prefix: `585 k`, `32.1 M`, `2.30 MB`.

    Args:
        value: The number, at least 0.
        unit: What follows the prefix: `B`.
    """
    prefixes = ["", "k", "M", "G", "T", "P"]
    while float(f"{value:.3g}") >= 1000 and len(prefixes) > 1:
        value /= 1000
        prefixes.pop(0)
    whole = isinstance(value, int) or float(value).is_integer()
    number = f"{value:.0f}" if prefixes[0] == "" and whole else digits(value)
    return f"{number} {prefixes[0]}{unit}".rstrip()


def digits(value: float) -> str:
    """Return a number in three digits, or as many as stand before the point."""
    if not math.isfinite(value):
        return str(value)
    size = float(f"{value:.3g}")
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def metric_text(value: float, spec: MetricSpec) -> str:
    """Return a headline value as people read it: in points with two decimals, or with four digits."""
    return f"{value * spec.scale:.2f}" if spec.scale == 100 else f"{value * spec.scale:.4g}"


def _drop_text(drop: float, spec: MetricSpec) -> str:
    text = f"{drop:.2f}" if spec.mode == "min" or spec.scale == 100 else f"{drop:.4g}"
    return text.removeprefix("-") if float(text) == 0 else text


def _times(value: float | None) -> Figure:
    return Figure("" if value is None else f"{digits(value)}x")


# ---- Tables --------------------------------------------------------------------------------------------------------


def _sizes(results: Sequence[StageResult]) -> Rows:
    table = []
    sparse = any(result.sparsity >= 0.0005 for result in results)
    for one in results:
        row = {
            "stage": one.name,
            "runs in": f"{_RUNTIMES.get(one.runtime, one.runtime)} {one.precision}",
            "params": Figure(human(one.parameters)),
            "MACs": Figure("" if one.multiply_adds is None else human(one.multiply_adds)),
            "file": Figure(human(one.bytes, "B")),
            "smaller": _times(times_smaller(results, one)),
        }
        table.append({**row, "zeros": Figure(f"{one.sparsity:.1%}")} if sparse else row)
    return table


def _speeds(results: Sequence[StageResult], size: int, memory: bool) -> Rows:
    table = []
    for one in results:
        latency, faster = one.latency.get(size), speedup(results, one, size)
        row = {
            "stage": one.name,
            "p50 ms": Figure("" if latency is None else digits(latency.p50 * 1000)),
            "p95 ms": Figure("" if latency is None else digits(latency.p95 * 1000)),
            "items/s": Figure("" if latency is None else human(one.items_per_second(size))),
            "vs eager": _times(faster.eager),
            "vs fp32": _times(faster.runtime),
        }
        memory_cell = Figure("" if one.peak_memory is None else human(one.peak_memory, "B"))
        table.append({**row, "memory": memory_cell} if memory else row)
    return table


def _quality(results: Sequence[StageResult], spec: MetricSpec) -> Rows:
    table = []
    for one in results:
        row: dict[str, Any] = {"stage": one.name, **_score_cells(one.validation, spec)}
        row["drop"] = Figure("" if one is results[0] and one.parent else _drop_text(one.drop, spec))
        if any(result.agreement is not None for result in results):
            row["agrees"] = Figure("" if one.agreement is None else f"{one.agreement:.1%}")
        if any(result.passed is not None for result in results):
            row["gate"] = {True: "passed", False: "failed", None: ""}[one.passed]
        table.append(row)
    return table


def _test(results: Sequence[StageResult], spec: MetricSpec) -> Rows:
    parent = next((one.test for one in results if one.parent and one.test is not None), None)
    table = []
    for one in results:
        if one.test is None:
            continue
        drop = "" if parent in (None, one.test) else _drop_text(drop_of(spec, parent.value, one.test.value), spec)
        table.append({"stage": one.name, **_score_cells(one.test, spec), "drop": Figure(drop)})
    return table


def _score_cells(score: Score, spec: MetricSpec) -> dict[str, Any]:
    known = score.low is not None and score.high is not None
    interval = f"{metric_text(score.low, spec)} to {metric_text(score.high, spec)}" if known else ""  # type: ignore[arg-type]
    return {one_line(spec.name): Figure(metric_text(score.value, spec)), "95% interval": interval}


def _fitting(table: Rows, width: int) -> Rows:
    """Return a table whose names are shortened so that it fits into so many columns."""
    if not table:
        return table
    first, *others = table[0]
    taken = sum(max(width_of(name), *(width_of(str(row[name])) for row in table)) for name in others)
    room = max(width - taken - _FRAME * len(table[0]) - 1, _SHORTEST)
    return [{**row, first: shortened(str(row[first]), room)} for row in table]


def _markdown_table(table: Rows) -> str:
    names = list(table[0]) if table else []
    marks = ["---" if isinstance(table[0][name], str) else "---:" for name in names]
    cells: Iterable[Iterable[object]] = [names, marks, *(row.values() for row in table)]
    return "\n".join(f"| {' | '.join(escape_markdown(cell) for cell in line)} |" for line in cells)


# ---- csv -----------------------------------------------------------------------------------------------------------


def _record(results: Sequence[StageResult], one: StageResult, spec: MetricSpec) -> dict[str, Any]:
    record: dict[str, Any] = {
        "stage": _cell(one.name),
        "runtime": one.runtime,
        "precision": one.precision,
        "parent": one.parent,
        "parameters": one.parameters,
        "multiply_adds": one.multiply_adds,
        "bytes": one.bytes,
        "times_smaller": times_smaller(results, one),
        "sparsity": one.sparsity,
    }
    for size in batch_sizes(results):
        latency, faster = one.latency.get(size), speedup(results, one, size)
        record |= {
            f"p50_seconds_{size}": None if latency is None else latency.p50,
            f"p95_seconds_{size}": None if latency is None else latency.p95,
            f"calls_{size}": None if latency is None else latency.calls,
            f"items_per_second_{size}": None if latency is None else one.items_per_second(size),
            f"times_faster_than_eager_{size}": faster.eager,
            f"times_faster_than_fp32_{size}": faster.runtime,
            f"pareto_{size}": one.name in pareto(results, size),
        }
    test = one.test or Score(math.nan)
    return record | {
        "peak_memory_bytes": one.peak_memory,
        "metric": _cell(spec.name),
        "validation": one.validation.value,
        "validation_low": one.validation.low,
        "validation_high": one.validation.high,
        "test": None if one.test is None else test.value,
        "test_low": test.low,
        "test_high": test.high,
        "drop": one.drop,
        "drop_unit": "points" if spec.mode == "max" else "percent",
        "agreement": one.agreement,
        "passed": one.passed,
        "note": _cell(one.note),
    }


def _flat(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return facts as texts by their names."""
    lists = (list, tuple)
    return {k: " ".join(map(str, v)) if isinstance(v, lists) else str(v) for k, v in facts.items()}


def _cell(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
