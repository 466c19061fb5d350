"""`evaluate.by=<column>`: the metrics of an evaluation for each value of a column of the data, worst first.

Each group's metrics are those of its examples alone, taken from what the metrics kept of each example: there is no
second forward pass, and a group of all examples gives what the whole evaluation gives.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ptft.command.report import cell
from ptft.config.problems import nearest
from ptft.data.data_module import DataModule
from ptft.engine.console import Console
from ptft.engine.evaluate import Evaluation, part_of
from ptft.engine.run_dir import RunDirectory
from ptft.errors import ConfigError
from ptft.runtime.text import shortened
from ptft.task.task import MetricSpec

MOST_SHOWN = 20
"""Groups printed; all stand in the csv file."""
_FURTHER = 2
"""Metrics printed beside the headline; all stand in the csv file."""


@dataclass(frozen=True)
class Group:
    """The examples that share a value of a column."""

    value: str
    evaluation: Evaluation


def column_of(data: DataModule, name: str) -> Sequence[str]:
    """Return a column of the data, one text an example.

    Raises:
        ConfigError: There is no such column.
    """
    columns = data.attributes()
    if name in columns:
        return columns[name]
    if not columns:
        raise ConfigError(
            f"evaluate.by={name}: these data have no columns to group by; data=vision/image_folder has its folders and "
            "the columns of its csv file"
        )
    known = ", ".join(shortened(column, 40) for column in columns)
    raise ConfigError(f"evaluate.by={name}: the data have no such column{nearest(name, columns)}; they have {known}")


def group_by(evaluation: Evaluation, column: Sequence[str], headline: MetricSpec) -> list[Group]:
    """Return the groups of an evaluation, worst headline first, of equal ones the larger first.

    Raises:
        ConfigError: The metrics of this task cannot be told apart by example.
    """
    values = [column[number] for number in evaluation.records["index"].tolist()] if evaluation.records else []
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    group_of = torch.tensor([numbers[value] for value in values])
    groups = []
    for value, number in numbers.items():
        part = part_of(evaluation, group_of == number)
        if part is None or not part.metrics:
            break
        groups.append(Group(value, part))
    if not groups:
        raise ConfigError("evaluate.by: the metrics of this task are of all examples together; leave evaluate.by out")
    sign = 1 if headline.mode == "max" else -1

    def badness(group: Group) -> tuple[float, int]:
        found = group.evaluation.metrics.get(headline.name, float("nan"))
        return (sign * found if found == found else float("-inf")), -group.evaluation.num_examples

    return sorted(groups, key=badness)


def show_groups(console: Console, title: str, by: str, groups: Sequence[Group], headline: MetricSpec) -> None:
    """Print the worst groups: examples, the headline with its interval, a few further metrics."""
    names = list(dict.fromkeys(name for group in groups for name in group.evaluation.metrics))
    further = [name for name in ("loss", "f1_macro", *names) if name in names and name != headline.name]
    chosen = list(dict.fromkeys(further))[:_FURTHER]
    rows = []
    for group in groups[:MOST_SHOWN]:
        found = group.evaluation
        low, high = found.intervals.get(headline.name, (None, None))
        row: dict[str, Any] = {shortened(by, 24): shortened(group.value, 24) or "(none)", "n": found.num_examples}
        row[headline.name] = _value(found.metrics.get(headline.name))
        # Examples that all came out alike tell a bootstrap nothing: it would claim to be certain.
        row["95% interval"] = f"{low:.4f} to {high:.4f}" if low is not None and high is not None and low < high else ""
        rows.append(row | {name: _value(found.metrics.get(name)) for name in chosen})
    console.table(title, rows)
    if len(groups) > MOST_SHOWN:
        console.say(f"and {len(groups) - MOST_SHOWN} more; all stand in report/")


def write_groups(run: RunDirectory, by: str, groups: Sequence[Group]) -> str:
    """Write all groups with all metrics and their intervals as csv; returns the file's name."""
    names = list(dict.fromkeys(name for group in groups for name in group.evaluation.metrics))
    bounded = {name for group in groups for name in group.evaluation.intervals}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = [column for name in names for column in (name, *([f"{name}_low", f"{name}_high"] * (name in bounded)))]
    writer.writerow([by, "n", *header])
    for group in groups:
        row: list[Any] = [cell(group.value), group.evaluation.num_examples]
        for name in names:
            row.append(group.evaluation.metrics.get(name, ""))
            if name in bounded:
                row += group.evaluation.intervals.get(name, ("", ""))
        writer.writerow(row)
    name = f"by_{re.sub(r'[^A-Za-z0-9_.-]+', '_', by)[:80]}.csv"
    run.write_text(f"report/{name}", text.getvalue())
    return name


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
