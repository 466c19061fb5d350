"""What `pretrain` and `finetune` share: everything from the checked config to the run's summary, in order."""

import contextlib
import json
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ptft.command import report
from ptft.command.build import Builder
from ptft.config.invocation import Invocation
from ptft.data.data_module import DataModule, DataSpec
from ptft.engine.checkpoint import Checkpoint, CheckpointStore
from ptft.engine.console import Console
from ptft.engine.engine import Engine
from ptft.engine.plan import Plan
from ptft.engine.run_dir import RunDirectory
from ptft.engine.weights import load_for_evaluation
from ptft.errors import DONE, FAILED, INTERRUPTED, ConfigError, DataError, GateError, Interrupted, PtftError
from ptft.runtime import files
from ptft.runtime.device import versions

Config = Mapping[str, Any]


def train(config: Config, invocation: Invocation) -> float | list[float]:
    """Train, evaluate the best checkpoint on the test split, write the run, and return the objective.

    Raises:
        PtftError: The run failed; run.json says how.
    """
    console = Console()
    run = open_run(config, invocation)
    with files.lock(run.path), recorded(run, console):
        store = CheckpointStore(run.checkpoints, run.id)
        checkpoint = store.load_newest(console.warn) if invocation.resume else None
        builder = Builder(config, invocation.trusted, console)
        console.say(f"run {run.path}")
        engine = assemble(builder, invocation, run, checkpoint)
        if checkpoint is not None and engine.stop_step <= checkpoint.step and _is_finished(run):
            console.say(f"{run.path} is finished: {checkpoint.step} steps done; engine.max=... goes on further")
            return _objective(config, engine)
        engine.fit()
        engine.recorder.close()
        summary = hand_over(builder, engine, run)
        _farewell(console, run, invocation, config, summary, str(engine.tracker.objective))
        report.check_gate(config.get("gate"), summary)
        return _objective(config, engine)


def open_run(config: Config, invocation: Invocation) -> RunDirectory:
    """Make the run directory, or reopen the one that is resumed."""
    facts: dict[str, Any] = {
        "command": invocation.verb,
        "argv": list(invocation.argv),
        "parents": _parents(invocation),
        "versions": versions(),
        "world_size": 1,
    }
    if invocation.resume is not None:
        run = RunDirectory.reopen(invocation.resume)
        _say_what_differs(run.record["versions"], facts["versions"])
        run.save(status="running", exit_code=None, error=None, resumed=[*run.record.get("resumed", []), facts["argv"]])
    else:
        path = Path(config["output_root"]) / config["name"]
        run = RunDirectory.create(path, overwrite=bool(config.get("overwrite")), facts=facts)
        run.write_text(".hydra/hydra.yaml", yaml.safe_dump(invocation.hydra, sort_keys=False))
        run.write_text(".hydra/overrides.yaml", yaml.safe_dump(list(invocation.overrides)))
        run.write_text(".hydra/config.yaml", yaml.safe_dump(dict(config), sort_keys=False))
    run.write_text("config.yaml", yaml.safe_dump(dict(config), sort_keys=False))
    return run


def assemble(builder: Builder, invocation: Invocation, run: RunDirectory, checkpoint: Checkpoint | None) -> Engine:
    """Build everything in order, and put a resumed run where its checkpoint stands."""
    settings = builder.settings()
    data = builder.data(saved_spec(run.path) if checkpoint is not None else None)
    _check_fingerprint(run, data, bool(builder.config["data"].get("allow_changed")))
    task = builder.task(data.spec, settings.seed)
    builder.initialise(task, invocation.init_from if checkpoint is None else None)
    saved = Plan.from_json(checkpoint.state["plan"]) if checkpoint is not None else None
    plan = builder.place(task, data, settings, saved)
    builder.console.say(plan.describe())
    run.save(plan=plan.to_json())
    step = checkpoint.step if checkpoint is not None else 0
    engine = builder.engine(task, data, settings, plan, run, step)
    if checkpoint is not None:
        engine.load(checkpoint)
        run.truncate_metrics(checkpoint.step)
        builder.console.say(f"resumed at step {checkpoint.step} of {engine.stop_step}")
    return engine


def hand_over(builder: Builder, engine: Engine, run: RunDirectory) -> dict[str, dict[str, Any]]:
    """Evaluate the best checkpoint on the test split - read once, here - and write model/, predictions and summary."""
    store, tracker = engine.store, engine.tracker
    checkpoint = store.load_named("best")
    engine.ema = None  # the averaged weights come with the checkpoint
    load_for_evaluation(engine.task, checkpoint)
    objective = tracker.objective
    summary = {f"{objective.split}/{name}": {"value": value} for name, value in tracker.best_metrics.items()}
    if "test" in engine.evaluation_loaders:
        result = engine.evaluate("test", with_intervals=True)
        summary |= report.summarise(result, "test")
        report.write_predictions(run, result.records, engine.task.label_names())
    report.write_model(run, engine.task, builder.config)
    run.write_json(
        "summary.json",
        {
            "metrics": summary,
            "objective": {"name": str(objective), "mode": objective.metric.mode, "value": tracker.best},
            "best_step": tracker.best_step,
            "steps": engine.step,
            "checkpoint": checkpoint.digest,
            "cost": engine.cost(),
        },
    )
    return summary


def saved_spec(run: Path) -> DataSpec | None:
    """Return the data specification that a run keeps, or None."""
    path = run / "model" / "preprocessing.json"
    return DataSpec.from_json(json.loads(path.read_bytes())) if path.is_file() else None


@contextlib.contextmanager
def recorded(run: RunDirectory, console: Console) -> Iterator[None]:
    """Record in run.json how the block ends, and send what is said to log.txt."""
    console.log = run.log
    try:
        yield
    except GateError as error:
        run.finish("done", error.exit_code, str(error))
        raise
    except (Interrupted, KeyboardInterrupt) as error:
        code = error.exit_code if isinstance(error, Interrupted) else INTERRUPTED
        run.finish("interrupted", code, str(error) or "interrupted")
        if isinstance(error, Interrupted):
            raise Interrupted(
                f"{error}\ngo on with: ptft {run.record['command']} resume={run.record['name']}", code
            ) from None
        raise
    except Exception as error:
        text = str(error) if isinstance(error, PtftError) else traceback.format_exc()
        console.log(f"failed: {text}")
        run.finish("failed", getattr(error, "exit_code", FAILED), text)
        raise
    else:
        run.finish("done", DONE)


def _is_finished(run: RunDirectory) -> bool:
    return (run.path / "summary.json").is_file()


def _objective(config: Config, engine: Engine) -> float | list[float]:
    """Return what a sweeper compares: the objective, or all of several."""
    wanted = config.get("objective")
    if not isinstance(wanted, list):
        return engine.tracker.best if engine.tracker.best is not None else float("nan")
    names = [text.partition(":")[0].partition("/")[2] for text in wanted]
    missing = [name for name in names if name not in engine.tracker.best_metrics]
    if missing:
        raise ConfigError(f"objective: no metric {missing[0]}; there are {', '.join(engine.tracker.best_metrics)}")
    return [engine.tracker.best_metrics[name] for name in names]


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


def _parents(invocation: Invocation) -> list[dict[str, Any]]:
    """Return the runs this one comes from, with the digest of what was taken of them."""
    parents = []
    for source in (invocation.init_from, invocation.run):
        if source is not None and (source / "run.json").is_file():
            record = RunDirectory.reopen(source).record
            summary = source / "summary.json"
            digest = json.loads(summary.read_bytes()).get("checkpoint") if summary.is_file() else None
            parents.append({"id": record["id"], "name": record["name"], "checkpoint": digest})
        elif source is not None and source.is_file():
            parents.append({"path": str(source), "checkpoint": files.digest(source)})
    return parents


def _say_what_differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Say what keeps a resumed run from being bit-identical."""
    keys = ("torch", "threads", "cpu_flags", "cuda", "gpu")
    changed = [f"{key} {before.get(key)} -> {after[key]}" for key in keys if before.get(key) != after[key]]
    if changed:
        Console().warn(f"not bit-exact: {'; '.join(changed)}")


def _farewell(
    console: Console,
    run: RunDirectory,
    invocation: Invocation,
    config: Config,
    summary: Mapping[str, Mapping[str, Any]],
    objective: str,
) -> None:
    """End the output with the metrics, the run directory and the next command to type."""
    split = "test" if any(name.startswith("test/") for name in summary) else objective.partition("/")[0]
    shown = {name: entry for name, entry in summary.items() if name.startswith(f"{split}/")}
    report.show_metrics(console, f"Best checkpoint on {split}", shown)
    name = report.reference_of(run, invocation, config)
    following = f"ptft finetune init_from={name}" if invocation.verb == "pretrain" else f"ptft evaluate run={name}"
    console.say(f"run   {run.path}")
    console.say(f"next  {following}")
