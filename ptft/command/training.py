"""What `pretrain` and `finetune` share: everything from the checked config to the run's summary, in order."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ptft.command import report
from ptft.command.build import Builder, network_of
from ptft.command.decision import choose_decision
from ptft.command.preprocessing import unlike
from ptft.command.remote import bring, with_weights_here
from ptft.command.running import as_yaml, open_run, recorded, withdrawn_if_refused
from ptft.command.source import damaged, read_json
from ptft.command.teacher import find_teacher
from ptft.config.invocation import Invocation
from ptft.config.resolve import component_class
from ptft.data.data_module import DataModule, DataSpec
from ptft.engine.checkpoint import Checkpoint, CheckpointStore
from ptft.engine.console import Console
from ptft.engine.engine import Engine
from ptft.engine.plan import Plan, apply_memory_format
from ptft.engine.run_dir import RunDirectory
from ptft.errors import (
    ConfigError,
    DataError,
)
from ptft.model.exchange import Exchanges, NamesFolder
from ptft.model.parts import HasParts
from ptft.runtime.find import find_weights
from ptft.sweep.trial import Measured

Config = Mapping[str, Any]


def train(config: Config, invocation: Invocation) -> list[Measured]:
    """Train, evaluate the best checkpoint on the test split, write the run, and return the objective.

    Raises:
        PtftError: The run failed; run.json says how.
    """
    console = Console()
    if (finished := finished_summary(config, invocation)) is not None:
        console.say(f"{invocation.resume} is finished: {finished['steps']} steps done; engine.max=... goes on further")
        report.check_gate(config.get("gate"), finished["metrics"])
        return _objective(config, finished)
    invocation = with_weights_here(invocation, bool(config.get("offline")), console.say)
    with open_run(config, invocation) as run, recorded(run, console, report.resuming(run, invocation)):
        store = CheckpointStore(run.checkpoints, run.id)
        checkpoint = store.load_newest(console.warn) if invocation.resume else None
        builder = Builder(config, invocation.trusted, console)
        console.say(f"run {run.path}{report.of_a_sweep(invocation)}")
        with withdrawn_if_refused(run):
            engine = assemble(builder, invocation, run, checkpoint)
            check_metric_names(engine, config)
        try:
            engine.fit()
        finally:
            write_rejected(run, engine.data)  # those that broke meanwhile, too many of them perhaps
        engine.recorder.close()
        summary = hand_over(builder, engine, run)
        _farewell(console, run, invocation, summary["metrics"], engine)
        report.check_gate(config.get("gate"), summary["metrics"])
        return _objective(config, summary)


def finished_summary(config: Config, invocation: Invocation) -> dict[str, Any] | None:
    """Return the summary of the run that is resumed if nothing is left to do, so that it stays untouched."""
    path = invocation.resume
    if path is None or RunDirectory.reopen(path).record["status"] != "done":
        return None
    try:
        before = yaml.safe_load((path / "config.yaml").read_bytes())["engine"]
    except FileNotFoundError:
        return None
    if not (path / "summary.json").is_file():
        return None
    summary = read_json(path / "summary.json")
    lengths = ("max", "stop_at")
    return summary if all(before.get(key) == config["engine"].get(key) for key in lengths) else None


def assemble(builder: Builder, invocation: Invocation, run: RunDirectory, checkpoint: Checkpoint | None) -> Engine:
    """Build everything in order, and put a resumed run where its checkpoint stands."""
    settings = builder.settings()
    new = checkpoint is None
    teacher = find_teacher(builder.config, invocation, run, new=new)
    weights = _named_weights(builder, invocation) if new else None
    followed = weights or (_folder_of_model(builder) if new else None)
    if followed is None and teacher is not None:
        followed = teacher.run.path  # texts are read as the teacher does
    data = builder.data(None if new else saved_spec(run.path), followed)
    write_rejected(run, data)
    _check_fingerprint(run, data, bool(builder.config["data"].get("allow_changed")))
    known = teacher.task(builder, saved_spec(teacher.run.path)) if teacher is not None else None
    task = builder.task(data.spec, settings.seed)
    source = None
    if new:
        network = network_of(task)
        source = weights or (network.pretrained if isinstance(network, Exchanges) else None)
    if source is not None and (difference := unlike(source, data.spec)) is not None:
        builder.console.warn(difference)  # first: it may be why the weights do not fit
    if source is None and checkpoint is None and invocation.verb == "finetune":
        builder.console.say("weights are random; init_from=... starts from trained ones")
    builder.initialise(task, source)
    if source is not None:
        run.save(weights=str(source / "model" if (source / "model").is_dir() else source))
    if teacher is not None and known is not None:
        task = teacher.over(task, known)
    saved = Plan.from_json(checkpoint.state["plan"]) if checkpoint is not None else None
    plan = builder.place(task, data, settings, saved)
    builder.console.say(plan.describe())
    run.save(plan=plan.to_json())
    step = checkpoint.step if checkpoint is not None else 0
    engine = builder.engine(task, data, settings, plan, run, step)
    if checkpoint is not None:
        if checkpoint.step > engine.stop_step:
            raise ConfigError(
                f"{run.path} has done {checkpoint.step} steps already, and engine.max or engine.stop_at end it at "
                f"{engine.stop_step}; give a length of at least {checkpoint.step}st"
            )
        engine.load(checkpoint)
        builder.console.say(f"resumed at step {checkpoint.step} of {engine.stop_step}")
    if invocation.resume is not None:
        run.write_text("config.yaml", as_yaml(builder.config))
        run.truncate_metrics(checkpoint.step if checkpoint is not None else -1)
    return engine


def check_metric_names(engine: Engine, config: Config) -> None:
    """Refuse an objective or a gate on a metric that there will not be, before hours go into training.

    Only an evaluation tells what a task measures; one is made where the config names a metric.

    Raises:
        ConfigError: There is no such metric.
    """
    wanted, gate = config.get("objective") or [], config.get("gate") or {}
    named = [
        (f"objective={text}", text.partition(":")[0]) for text in ([wanted] if isinstance(wanted, str) else wanted)
    ]
    named += [("gate.metric", gate["metric"])] if gate.get("metric") else []
    if not named:
        return
    known = engine.evaluate(engine.tracker.objective.split).metrics
    there = [f"{split}/{name}" for split in ("val", "test") for name in known]
    for key, name in named:
        if name not in there:
            raise ConfigError(f"{key}: there is no metric `{name}`; this task gives {', '.join(there)}")


def hand_over(builder: Builder, engine: Engine, run: RunDirectory) -> dict[str, Any]:
    """Evaluate the best checkpoint on the test split - read once, here - and write model/, predictions and summary.

    Returns:
        What summary.json holds.
    """
    store, tracker = engine.store, engine.tracker
    checkpoint = store.load_named("best")
    parameters = report.count_parameters(engine.task, engine.optimizers.values())  # before merging takes some away
    engine.average = None  # the averaged weights come with the checkpoint
    builder.finish(engine.task, checkpoint, run.path / "adapter", str(run.record.get("weights") or ""))
    apply_memory_format(engine.task, engine.plan.memory_format)  # merged weights lie otherwise, and round otherwise
    choose_decision(engine, run)
    objective = tracker.objective
    best = dict(tracker.best_metrics)
    if engine.task.decision and objective.split == "val":
        best = engine.evaluate("val").metrics  # decided as test is
    metrics: dict[str, Any] = {f"{objective.split}/{name}": {"value": value} for name, value in best.items()}
    if "test" in engine.evaluation_loaders:
        result = engine.evaluate("test", with_intervals=True)
        metrics |= report.summarise(result, "test")
        report.write_predictions(run, result.records, engine.task.label_names(), engine.data.paths())
    report.write_model(run, engine.task, builder.config)
    summary = {
        "metrics": metrics,
        "objective": {"name": str(objective), "mode": objective.metric.mode, "value": tracker.best},
        "best_step": tracker.best_step,
        "steps": engine.step,
        "checkpoint": checkpoint.digest,
        "parameters": parameters,
        "cost": engine.cost(),
    }
    write_rejected(run, engine.data)
    run.write_json("summary.json", summary)
    return summary


def write_rejected(run: RunDirectory, data: DataModule) -> None:
    """Write the examples that were left out so far as bad_samples.jsonl, one a line; no file where none was."""
    if rows := data.rejected():
        run.write_text("bad_samples.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def saved_spec(run: Path) -> DataSpec | None:
    """Return the data specification that a run keeps, or None."""
    path = run / "model" / "preprocessing.json"
    if not path.is_file():
        return None
    try:
        return DataSpec.from_json(
            read_json(path), lambda name: (path.parent / Path(name).name).read_text(encoding="utf-8")
        )
    except (TypeError, OSError, UnicodeDecodeError) as error:
        raise damaged(path, error) from None


def _objective(config: Config, summary: Mapping[str, Any]) -> list[Measured]:
    """Return what a sweep compares: the best value of the objective, or all of several at the best checkpoint."""
    best = summary["objective"]
    wanted = config.get("objective")
    if isinstance(wanted, list):
        return objective_of(wanted, summary["metrics"], str(best["name"]), str(best["mode"]))
    return [Measured(str(best["name"]), str(best["mode"]), float("nan") if best["value"] is None else best["value"])]


def objective_of(
    wanted: str | list[str] | None, metrics: Mapping[str, Mapping[str, Any]], headline: str, mode: str
) -> list[Measured]:
    """Return the value of an objective such as `val/accuracy:max`, or those of several.

    Args:
        wanted: What the config says; None: the headline.
        metrics: What was measured, with its split, `test/accuracy`.
        headline: The headline metric with its split.
        mode: Whether more (`max`) or less (`min`) of it is better.

    Raises:
        ConfigError: It is none of the metrics, or nobody says which direction is better.
    """
    found = []
    for text in [wanted] if isinstance(wanted, str) else wanted or [headline]:
        name, _, direction = text.partition(":")
        if name not in metrics:
            raise ConfigError(f"objective: no metric {name}; there are {', '.join(metrics)}")
        found.append(Measured(name, direction or direction_of(name, headline, mode), metrics[name]["value"]))
    return found


def direction_of(name: str, headline: str, mode: str) -> str:
    """Return which direction of a metric is better, if it is the headline on some split, or a difference of it.

    Raises:
        ConfigError: It is another metric.
    """
    metric, known = (text.partition("/")[2].removesuffix(".b-a") for text in (name, headline))
    if metric != known:
        raise ConfigError(f"objective={name}: is more or less better? write {name}:max or {name}:min")
    return mode


def _check_fingerprint(run: RunDirectory, data: DataModule, allowed: bool) -> None:
    """Keep a run on the data it began with."""
    before = run.record.get("fingerprint")
    if before not in (None, data.spec.fingerprint) and not allowed:
        raise DataError(
            f"the data changed since {run.path} began (fingerprint {before[:12]} -> {data.spec.fingerprint[:12]}): "
            "examples, labels or their split differ. Bring the old data back, or go on with data.allow_changed=true"
        )
    run.save(fingerprint=data.spec.fingerprint)
    report.write_preprocessing(run, data.spec)


def _named_weights(builder: Builder, invocation: Invocation) -> Path | None:
    """Return where the weights that `init_from=` names lie; a run stopped early starts from them anew."""
    config = builder.config
    source = invocation.init_from
    if source is None and config.get("init_from"):
        source = find_weights(config["init_from"], config["output_root"])
    return None if source is None else bring(source, bool(config.get("offline")), builder.console.say)


def _folder_of_model(builder: Builder) -> Path | None:
    """Return the folder that the model itself starts from, if the data must follow it (`NamesFolder`)."""
    node = builder.config["model"]
    kind = component_class(node, trusted=builder.trusted, group="model")
    return kind.weights_folder(node) if isinstance(kind, NamesFolder) else None


def _farewell(
    console: Console,
    run: RunDirectory,
    invocation: Invocation,
    summary: Mapping[str, Mapping[str, Any]],
    engine: Engine,
) -> None:
    """End the output with the metrics, the run directory and the next command to type."""
    split = "test" if any(name.startswith("test/") for name in summary) else engine.tracker.objective.split
    shown = {name: entry for name, entry in summary.items() if name.startswith(f"{split}/")}
    report.show_metrics(console, f"Best checkpoint on {split}", shown)
    # Only a network that tells its parts can be given another head.
    reusable = invocation.verb == "pretrain" and isinstance(network_of(engine.task), HasParts)
    following = f"evaluate {report.naming('run', run)}"
    if reusable and engine.task.output == "causal":
        following = f'predict {report.naming("run", run)} prompt="Once upon a time"'
    elif reusable:
        labelled = bool(engine.data.spec.classes)
        following = " ".join(["finetune", report.naming("init_from", run), *report.kept(invocation, labelled)])
    console.say(f"run   {run.path}")
    console.say(f"next  {report.command_line(invocation, following)}")
