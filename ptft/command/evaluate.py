"""`ptft evaluate`: measure a finished run on a split, exactly, with intervals, per class and per example."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ptft.command import report
from ptft.command.build import Builder
from ptft.command.running import open_run, recorded, withdrawn_if_refused
from ptft.command.training import objective_of, saved_spec
from ptft.config.invocation import Invocation
from ptft.data.data_module import Batch, BatchPlan
from ptft.engine.checkpoint import Checkpoint, CheckpointStore
from ptft.engine.console import Console
from ptft.engine.evaluate import EVALUATION_BATCH, evaluate
from ptft.engine.plan import Plan, apply_memory_format
from ptft.engine.recorder import Recorder
from ptft.engine.run_dir import RunDirectory
from ptft.errors import ConfigError
from ptft.runtime.device import choose_device
from ptft.runtime.precision import Precision
from ptft.task.task import Task


def run(config: dict[str, Any], invocation: Invocation) -> float | list[float]:
    """Evaluate the run that `run=` names and return the objective: its headline metric if nothing else is said.

    Raises:
        ConfigError: The data have no such split, or the objective is none of the metrics.
        CheckpointError: The run has no such checkpoint.
    """
    console = Console()
    assert invocation.run is not None, "the config is checked: run= names a run"
    parent = RunDirectory.reopen(invocation.run)
    checkpoint = CheckpointStore(parent.checkpoints, parent.id).load_named(str(config["checkpoint"]))
    with open_run(config, invocation) as own, recorded(own, console):
        console.say(f"run {own.path}: {parent.path}, checkpoint {config['checkpoint']} (step {checkpoint.step})")
        with withdrawn_if_refused(own, invocation):
            own.save(parents=[{"id": parent.id, "name": parent.record["name"], "checkpoint": checkpoint.digest}])
            builder = Builder(config, invocation.trusted, console)
            task, loaders, precision, max_batches = _prepare(builder, parent, checkpoint)
        split = str(config["split"])
        result = evaluate(task, loaders, split, precision, max_batches=max_batches, with_intervals=True)
        summary = report.summarise(result, split)
        recorder = Recorder(own, builder.make_all("logger", own.path, 0))
        recorder.row({"step": checkpoint.step}, {name: entry["value"] for name, entry in summary.items()})
        recorder.pictures(checkpoint.step, result.media)
        recorder.close()
        report.write_predictions(own, result.records, task.label_names())
        own.write_json("summary.json", {"metrics": summary, "table": result.table, "checkpoint": checkpoint.digest})
        console.table(f"Classes on {split}", result.table)
        report.show_metrics(console, f"{Path(parent.path).name} on {split}, {result.num_examples} examples", summary)
        console.say(f"run   {own.path}")
        report.check_gate(config.get("gate"), summary)
        return objective_of(config.get("objective") or f"{split}/{task.headline.name}", summary)


def _prepare(
    builder: Builder, parent: RunDirectory, checkpoint: Checkpoint
) -> tuple[Task, Mapping[str, Iterable[Batch]], Precision, int | None]:
    """Return the task with its weights, the loader of each split, the precision and the most batches to evaluate."""
    settings = builder.settings()
    spec = saved_spec(parent.path)
    data = builder.data(spec)
    if (
        spec is not None
        and spec.fingerprint != data.spec.fingerprint
        and not builder.config["data"].get("allow_changed")
    ):
        builder.console.warn(
            "these are not the data, or not the split, that the run was trained on: if they share examples with "
            "its training split, the metrics are too good. data.allow_changed=true says that this is meant"
        )
    task = builder.task(data.spec, settings.seed)
    builder.restore(task, checkpoint)
    device = choose_device(settings.device)
    plan = Plan.from_json(checkpoint.state["plan"])
    task.to(device)
    apply_memory_format(task, plan.memory_format)
    loaders = data.evaluation_loaders(BatchPlan(batch_size=max(settings.batch_size, EVALUATION_BATCH), device=device))
    split = str(builder.config["split"])
    if split not in loaders:
        raise ConfigError(f"split={split}: these data have {', '.join(loaders)}")
    same = plan.precision if device == torch.device(plan.device) else "fp32"
    precision = Precision(same if settings.precision == "auto" else settings.precision, device)
    return task, loaders, precision, settings.evaluation_batches
