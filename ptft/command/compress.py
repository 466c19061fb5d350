"""`ptft compress`: a finished run made smaller and faster, step by step, each stage measured on what counts.

Choices and the gate look at validation. The test split is read once, at the end: for the parent and what is delivered.
"""

import copy
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ptft.command import report
from ptft.command.build import Builder
from ptft.command.decision import restore_decision
from ptft.command.deliver import deliver
from ptft.command.held import STAGES, Held, open_held
from ptft.command.pipeline import Named, Pipeline
from ptft.command.running import as_yaml, open_run, recorded, withdrawn_if_refused
from ptft.command.search import search, walked_step
from ptft.command.stages import Stage, StageStore
from ptft.command.training import saved_spec
from ptft.command.weigh import weigh
from ptft.command.workbench import CPU, Workbench, evaluation_of
from ptft.compression.behind import check_single_network, with_network
from ptft.compression.export import check_exportable
from ptft.compression.step import NetworkStep
from ptft.config.invocation import Invocation
from ptft.config.resolve import instantiate
from ptft.config.saved import flat
from ptft.data.data_module import BatchPlan, DataModule
from ptft.engine.console import Console
from ptft.engine.plan import apply_memory_format
from ptft.engine.run_dir import RunDirectory
from ptft.errors import ConfigError, DataError, GateError
from ptft.runtime.find import LATEST
from ptft.sweep.trial import Measured
from ptft.task.distillation import Distillation
from ptft.task.task import Task

_MAY_DIFFER = (
    "name", "output_root", "overwrite", "offline", "run",
    "compression.measure", "compression.prefer", "compression.budget",
)  # fmt: skip
"""What a stopped compression may be gone on with otherwise: none of it decides of a stage."""


def run(config: dict[str, Any], invocation: Invocation) -> list[Measured]:
    """Compress the run that `run=` names, deliver the best stage that passes, and return its headline on validation.

    Raises:
        ConfigError: A step does not fit the run; nothing was trained.
        CheckpointError: The run has no such checkpoint.
        GateError: A stage lost more than `compression.max_drop`; the best one that passes is delivered all the same.
    """
    console = Console()
    assert invocation.run is not None, "the config is checked: run= names a run"
    parent = RunDirectory.reopen(invocation.run)
    held = open_held(parent, str(config["checkpoint"]))
    if held.exported:
        raise ConfigError(
            f"run={config['run']}: {parent.path} is compressed already, and an artefact is trained no further; "
            "compress the run that it came from, with more steps"
        )
    if invocation.resume is not None:
        _check_same(config, invocation.resume)
    with open_run(config, invocation) as own, recorded(own, console, typed_again(invocation, own, parent)):
        console.say(f"run {own.path}: {parent.path}, {held.title}")
        builder = Builder(config, invocation.trusted, console)
        with withdrawn_if_refused(own):
            own.save(parents=[_parent(held)])
            own.write_text("config.yaml", as_yaml(config))
            steps = build_steps(config["compression"]["steps"], invocation.trusted)
            if config["compression"]["search"]:
                walked_step(steps)
            bench = prepare(builder, own, held, steps)
        pipeline = Pipeline(bench, StageStore(own.path / STAGES))
        if config["compression"]["search"]:
            search(pipeline, steps, invocation.trusted)
        else:
            pipeline.run(steps)
        chosen, results = weigh(pipeline)
        summary = deliver(pipeline, chosen, results)
        _farewell(console, own, invocation, summary)
        _check_gate(pipeline.stages, chosen, config["compression"], searched=bool(config["compression"]["search"]))
        headline = bench.parent.headline
        return [Measured(f"val/{headline.name}", headline.mode, chosen.metrics[f"val/{headline.name}"]["value"])]


def build_steps(nodes: Mapping[str, Mapping[str, Any]], trusted: Sequence[str]) -> list[Named]:
    """Build the steps of a pipeline, in order."""
    return [
        Named(name, instantiate(node, trusted=trusted, group="compression"), dict(node)) for name, node in nodes.items()
    ]


def prepare(builder: Builder, own: RunDirectory, held: Held, steps: Sequence[Named]) -> Workbench:
    """Set up the data and the task, and find what cannot be done, before anything is trained.

    Raises:
        ConfigError: The task cannot be compressed, a step does not fit, or there is nothing to judge by.
    """
    trained_on = saved_spec(held.run.path)
    data = builder.data(trained_on)
    if trained_on is not None and trained_on.fingerprint != data.spec.fingerprint:
        if not builder.config["data"].get("allow_changed"):
            raise DataError(
                f"these are not the data, or not the split, that {held.run.path} was trained on: what it is judged by "
                "may hold what it has seen. Bring the old data back; data.allow_changed=true says that this is meant"
            )
        builder.console.warn("the data are not those of the run: metrics are too good if they share examples")
    task = held.task(builder, data.spec).to(CPU).eval()
    apply_memory_format(task, "contiguous")
    restore_decision(task, held.run.path, builder.console.warn)
    check_single_network(task)
    check_steps(builder, task, data, steps)
    missing = {"val", "test"} - set(_splits(task, data))
    if missing:
        raise ConfigError(f"these data have no split {' or '.join(sorted(missing))}; compressing is judged by both")
    report.write_preprocessing(own, data.spec)
    if task.decides:
        own.write_json("model/decision.json", dict(task.decision))
    return Workbench(
        builder=builder,
        own=own,
        held=held,
        data=data,
        parent=task,
        baseline=evaluation_of(task, data, "val", with_intervals=True),
        compression=builder.config["compression"],
        folder=own.path / STAGES,
    )


def check_steps(builder: Builder, task: Task, data: DataModule, steps: Sequence[Named]) -> None:
    """Find what steps and recoveries cannot do, before anything is trained.

    Raises:
        ConfigError: A step does not fit, trains for no number of steps, or would be undone by the next.
    """
    check_exportable(task)
    clock = builder.clock(data, builder.settings())
    sparse = ""
    for named in steps:
        try:
            named.step.check(task, data.spec)
            for duration in named.durations():
                duration.steps(clock)
        except ConfigError as error:
            raise ConfigError(f"compression.steps.{named.name}: {error}") from None
        except re.error as error:
            raise ConfigError(
                f"compression.steps.{named.name}: `{error.pattern!s}` is no regular expression: {error}"
            ) from None
        if sparse and isinstance(named.step, NetworkStep):
            raise ConfigError(
                f"compression.steps.{named.name} comes after {sparse}, whose zeros it would fill; put {sparse} last"
            )
        sparse = named.name if named.step.undone_by_training else sparse
    recovery = {key: value for key, value in builder.config["compression"]["recovery"].items() if key != "lr_scale"}
    if not task.distils:
        builder.console.say(f"recoveries have no teacher: {type(task).__name__} tells nothing that could be taught")
    elif recovery["hidden"] or recovery["attention"]:
        twin = with_network(task, copy.deepcopy(task.get_submodule("model")))
        Distillation(twin, task, **recovery)  # says what is missing


def typed_again(invocation: Invocation, own: RunDirectory, parent: RunDirectory) -> str:
    """Return the command that goes on with a stopped compression: the same one, of the same run."""
    words = [word for word in invocation.argv if not word.startswith("overwrite=")]
    words = [f"run={parent.path}" if word == f"run={LATEST}" else word for word in words]
    named = any(word.startswith("name=") for word in words)
    return shlex.join(words if named else [*words, f"name={own.record['name']}"])


def _splits(task: Task, data: DataModule) -> Sequence[str]:
    return tuple(data.evaluation_loaders(BatchPlan(batch_size=1, transform=task.own_transform)))


def _parent(held: Held) -> dict[str, Any]:
    return {
        "id": held.run.id,
        "name": held.run.record["name"],
        "path": str(held.run.path),
        "checkpoint": held.digest,
        "step": held.step,
    }


def _check_same(config: Mapping[str, Any], place: Path) -> None:
    """Refuse to go on with a stopped compression that was begun otherwise.

    Raises:
        ConfigError: A setting differs.
    """
    path = place / "config.yaml"
    before = dict(flat(yaml.safe_load(path.read_bytes()))) if path.is_file() else {}
    now = dict(flat(dict(config)))
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        may = any(key == name or key.startswith(f"{name}.") for name in _MAY_DIFFER)
        if not may and old != new and not (old in (None, {}) and new in (None, {})):
            raise ConfigError(
                f"{place} was stopped on its way, with {key}={old}, and now it is {new}: type its own command to go "
                "on with it, take another name=, or begin anew with overwrite=true"
            )


def _check_gate(stages: Sequence[Stage], chosen: Stage, compression: Mapping[str, Any], *, searched: bool) -> None:
    """Say that a stage broke the gate; a search fails only if no candidate passes.

    Raises:
        GateError: One did.
    """
    broken = [stage for stage in stages if stage.passed is False]
    if not broken or (searched and any(stage.passed for stage in stages[1:])):
        return  # a search is there to find out what does not pass
    lost = ", ".join(f"{stage.name} (lost {stage.drop:.2f})" for stage in broken)
    raise GateError(
        f"the gate was not met: {lost}, where compression.max_drop={compression['max_drop']:g} is allowed; "
        f"delivered is the best that passes: {chosen.name}"
    )


def _farewell(
    console: Console, own: RunDirectory, invocation: Invocation, summary: Mapping[str, Mapping[str, Any]]
) -> None:
    shown = {name: entry for name, entry in summary.items() if name.startswith("test/")}
    report.show_metrics(console, f"Delivered: {own.record['delivered']}, on test", shown)
    console.say(f"see   {own.path / 'report'}: compression.png, compression.csv, compression.md")
    console.say(f"run   {own.path}")
    following = f"evaluate {report.naming('run', own)}"
    console.say(f"next  {report.command_line(invocation, following)}")
