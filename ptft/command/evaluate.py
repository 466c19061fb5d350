"""`ptft evaluate`: measure a finished run on a split, exactly, with intervals, per class, per group and per example."""

from collections.abc import Mapping, Sequence
from typing import Any

from ptft.command import compare, groups, report
from ptft.command.build import Builder
from ptft.command.draw import draw
from ptft.command.held import open_held
from ptft.command.measure import Bench, prepare
from ptft.command.mistakes import show_mistakes
from ptft.command.running import open_run, recorded, withdrawn_if_refused
from ptft.command.show import show
from ptft.command.training import objective_of, write_rejected
from ptft.config.invocation import Invocation
from ptft.engine.console import Console
from ptft.engine.evaluate import Evaluation
from ptft.engine.recorder import Recorder
from ptft.engine.run_dir import RunDirectory
from ptft.errors import DataError
from ptft.sweep.trial import Measured
from ptft.task.exhibit import Exhibit, Gallery, Matrix


def run(config: dict[str, Any], invocation: Invocation) -> list[Measured]:
    """Evaluate the run that `run=` names and return the objective: its headline metric if nothing else is said.

    Raises:
        ConfigError: The data have no such split or column, or the objective is none of the metrics.
        CheckpointError: The run has no such checkpoint.
    """
    if invocation.compared:
        return compare.run(config, invocation)
    console = Console()
    assert invocation.run is not None, "the config is checked: run= names a run"
    parent = RunDirectory.reopen(invocation.run)
    held = open_held(parent, str(config["checkpoint"]))
    asked: Mapping[str, Any] = config["evaluate"]
    with open_run(config, invocation) as own, recorded(own, console):
        console.say(f"run {own.path}: {parent.path}, {held.title}")
        with withdrawn_if_refused(own):
            own.save(parents=[{"id": parent.id, "name": parent.record["name"], "checkpoint": held.digest}])
            builder = Builder(config, invocation.trusted, console)
            bench = prepare(builder, parent, held)
            column = groups.column_of(bench.data, asked["by"]) if asked["by"] is not None else None
        result = bench.evaluate()
        write_rejected(own, bench.data)
        summary = report.summarise(result, bench.split)
        recorder = Recorder(own, builder.make_all("logger", own.path, 0))
        recorder.row({"step": held.step}, {name: entry["value"] for name, entry in summary.items()})
        recorder.media(held.step, result.media)
        recorder.close()
        report.write_predictions(own, result.records, bench.task.label_names(), bench.data.paths())
        own.write_json("summary.json", {"metrics": summary, "table": result.table, "checkpoint": held.digest})
        console.table(f"Classes on {bench.split}", result.table)
        title = f"{parent.record['name']} on {bench.split}, {result.num_examples:,} examples"
        written = _present(console, own, bench, result, title, pictures=bool(asked["pictures"]))
        if column is not None:
            written.append(_by_group(console, own, bench, result, str(asked["by"]), column))
        report.show_metrics(console, title, summary)
        if asked["explain"] is not None:
            written += _write(own, bench, bench.explain(str(asked["explain"]), result), title)
        if written:
            console.say(f"see   {own.path / 'report'}: {', '.join(written)}")
        console.say(f"run   {own.path}")
        report.check_gate(config.get("gate"), summary)
        return objective_of(
            config.get("objective"), summary, f"{bench.split}/{bench.task.headline.name}", bench.task.headline.mode
        )


def _present(
    console: Console, own: RunDirectory, bench: Bench, result: Evaluation, title: str, *, pictures: bool
) -> list[str]:
    """Show what the task has to show, on the console and as files; returns the names of the files."""
    exhibits = bench.task.exhibits(result.records) if result.records else []
    written = []
    for exhibit in exhibits:
        show(console, exhibit)
        if isinstance(exhibit, Matrix):
            written.append(report.write_matrix(own, exhibit))
    written += show_mistakes(console, own, bench.data, exhibits)
    return written + (_write(own, bench, exhibits, title) if pictures else [])


def _write(own: RunDirectory, bench: Bench, exhibits: Sequence[Exhibit], title: str) -> list[str]:
    """Draw exhibits into report/ and return the files' names; a gallery of data that are no pictures is left out."""
    names = []
    for exhibit in exhibits:
        try:
            data = draw(exhibit, title, bench.data.pictures)
        except DataError:
            if not isinstance(exhibit, Gallery):
                raise
            continue
        own.write_bytes(f"report/{exhibit.name}.png", data)
        names.append(f"{exhibit.name}.png")
    return names


def _by_group(
    console: Console, own: RunDirectory, bench: Bench, result: Evaluation, by: str, column: Sequence[str]
) -> str:
    """Show and write the results for each value of a column; returns the name of the file."""
    found = groups.group_by(result, column, bench.task.headline)
    groups.show_groups(console, f"By {by} on {bench.split}, worst first", by, found, bench.task.headline)
    return groups.write_groups(own, by, found)
