"""What a compression leaves: the artefact with all it needs in model/, the tables and the plot in report/, the summary.

model/                 artefact.json and its files, preprocessing.json, labels.json, README.md: enough to predict
model/torch/           its network in torch: weights, structure, and as a program of torch.export
front/<stage>/         of a search: the artefacts that no other beats
report/                compression.png, compression.csv, compression.md
summary.json           written last
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptft.command import report
from ptft.command.build import network_of
from ptft.command.pipeline import Pipeline
from ptft.command.stages import Stage, copy_files, save_weights
from ptft.command.weigh import EAGER_NAME, example_arrays, with_test
from ptft.compression import table
from ptft.compression.card import Delivered, Lineage, described_inputs, model_card
from ptft.compression.export import export_program
from ptft.compression.latency import machine_facts
from ptft.compression.library_form import library_network
from ptft.compression.plot import scatter
from ptft.compression.stage_result import StageResult, pareto
from ptft.engine.evaluate import Evaluation
from ptft.errors import PtftError
from ptft.model.artefact import NAME
from ptft.model.exchange import Exchanges
from ptft.runtime import files
from ptft.task.task import ExampleMetrics, Task


def deliver(pipeline: Pipeline, chosen: Stage, results: Sequence[StageResult]) -> dict[str, dict[str, Any]]:
    """Write what a compression leaves and return the metrics of its summary; the test split is read here, once."""
    bench = pipeline.bench
    own, headline = bench.own, bench.parent.headline
    on_test = {
        EAGER_NAME: bench.evaluation(bench.parent, "test", with_intervals=True),
        chosen.name: pipeline.evaluation(chosen, "test"),
    }
    shown = with_test(results, on_test, headline.name)
    facts = machine_facts(bench.threads, example_arrays(pipeline))
    _write_model(pipeline, chosen)
    if bench.compression["search"]:
        _write_front(pipeline, shown)
    _write_report(pipeline, chosen, shown, facts)
    own.save(delivered=chosen.name)
    found = on_test[chosen.name]
    report.write_predictions(own, found.records, bench.parent.label_names(), bench.data.paths())
    metrics = _summary_metrics(chosen, on_test, headline.name)
    own.write_json(
        "summary.json",
        {
            "metrics": metrics,
            "delivered": chosen.name,
            "stages": {stage.name: {"drop": stage.drop, "passed": stage.passed} for stage in pipeline.stages},
            "measured": [one.to_json() for one in shown],
            "machine": facts,
            "front": sorted(pareto(shown, _first_size(pipeline))),
            "checkpoint": chosen.artefact.digest,
            "cost": {"seconds": round(sum(stage.seconds for stage in pipeline.stages), 1)},
        },
    )
    return metrics


def _write_model(pipeline: Pipeline, chosen: Stage) -> None:
    """Write model/: the artefact, and the network it was made from."""
    bench, own = pipeline.bench, pipeline.bench.own
    folder = own.path / "model"
    files.remove(folder / NAME)  # of a delivery that was stopped, like what else it may have left
    for name in ("model.onnx", "model.xml", "model.bin", "model.onnx.data"):
        files.remove(folder / name)
    copy_files(chosen.artefact, folder)
    own.write_json("model/labels.json", list(bench.parent.label_names()))
    config = bench.builder.config
    own.write_json("model/config.json", {"model": config["model"], "task": config["task"], "stage": chosen.name})
    source = chosen if chosen.network else next(one for one in pipeline.stages if one.name == chosen.source)
    task = pipeline.task_of(source)
    torch_folder = folder / "torch"
    files.remove(torch_folder)
    files.ensure_directory(torch_folder)
    try:
        export_program(task, bench.example(), torch_folder / "model.pt2")
    except PtftError as error:
        bench.warn(f"no program of torch.export is written: {error}")
    _write_network(task, source, torch_folder)


def _write_network(task: Task, source: Stage, folder: Path) -> None:
    """Write a network of another library in that library's own form, every other as weights with its structure."""
    network = network_of(task)
    if isinstance(network, Exchanges):
        library_network(network).write_pretrained(folder, task.label_names())
        return
    aliases = save_weights(folder, task)
    structure = {"edits": source.edits, "aliases": aliases}
    files.replace_with(folder / "structure.json", (json.dumps(structure) + "\n").encode())


def _write_front(pipeline: Pipeline, results: Sequence[StageResult]) -> None:
    """Write the artefacts that no other beats, and name the smallest and the fastest that pass."""
    bench = pipeline.bench
    size = _first_size(pipeline)
    front = pareto(results, size)
    files.remove(bench.own.path / "front")
    files.ensure_directory(bench.own.path / "front")
    for stage in pipeline.stages:
        if stage.name in front:
            copy_files(stage.artefact, bench.own.path / "front" / stage.name)
    names = [one.name for one in results if one.name in front]
    bench.builder.console.say(f"Pareto front: {', '.join(names)}")
    passing = [one for one in results if one.passed is not False and one.name != EAGER_NAME]
    smallest = min(passing, key=lambda one: one.bytes)
    fastest = min(passing, key=lambda one: one.latency[size].p50)
    bench.builder.console.say(
        f"smallest that passes: {smallest.name} ({table.human(smallest.bytes, 'B')}); "
        f"fastest: {fastest.name} ({table.digits(1000 * fastest.latency[size].p50)} ms at batch {size})"
    )


def _write_report(pipeline: Pipeline, chosen: Stage, results: Sequence[StageResult], facts: Mapping[str, Any]) -> None:
    """Show the tables, and write them, the plot and the model card."""
    bench, own, headline = pipeline.bench, pipeline.bench.own, pipeline.bench.parent.headline
    console = bench.builder.console
    for title, rows in table.rows(results, headline).items():
        console.table(title[:1].upper() + title[1:], rows)
    for line in table.notes(results):
        console.say(line)
    own.write_text("report/compression.csv", table.csv_text(results, headline, facts))
    own.write_text("report/compression.md", table.markdown(results, headline, facts))
    allowed = bench.allowed_drop()
    gate = None
    if allowed is not None:
        base = bench.baseline.metrics[headline.name]
        gate = base - allowed if headline.mode == "max" else base + allowed
    title = f"{bench.held.run.record['name']} compressed"
    own.write_bytes("report/compression.png", scatter(results, headline, title, gate=gate, batch=_first_size(pipeline)))
    card = model_card(
        Delivered(
            name=str(own.record["name"]),
            stage=chosen.name,
            artefact=chosen.artefact,
            inputs=described_inputs(example_arrays(pipeline), bench.parent.export()["model"].dynamic),
            predict=f"ptft predict {report.naming('run', own)} input=...",
            labels=bench.parent.label_names(),
            spec=bench.spec,
        ),
        Lineage(
            name=str(bench.held.run.record["name"]),
            run_id=bench.held.run.id,
            checkpoint=bench.held.digest,
            steps={stage.name: stage.settings for stage in pipeline.stages[1:]},
        ),
        results,
        headline,
        facts,
    )
    own.write_text("model/README.md", card)


def _summary_metrics(chosen: Stage, on_test: Mapping[str, Evaluation], headline: str) -> dict[str, dict[str, Any]]:
    """Return validation's and test's metrics of what is delivered, and on test the parent's and the difference."""
    parent, found = on_test[EAGER_NAME], on_test[chosen.name]
    metrics = {**chosen.metrics, **report.summarise(found, "test")}
    metrics[f"test/{headline}.parent"] = report.summarise(parent, "test")[f"test/{headline}"]
    if isinstance(parent.source, ExampleMetrics) and isinstance(found.source, ExampleMetrics):
        low, high = parent.source.differences(found.source).get(headline, (None, None))
        value = found.metrics[headline] - parent.metrics[headline]
        metrics[f"test/{headline}.difference"] = {"value": value, "low": low, "high": high, "n": found.num_examples}
    return metrics


def _first_size(pipeline: Pipeline) -> int:
    return int(pipeline.bench.compression["measure"]["batch_sizes"][0])
