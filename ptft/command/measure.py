"""What evaluating and comparing share: from a run and its checkpoint to an evaluation of one split."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from ptft.command.build import Builder
from ptft.command.decision import restore_decision
from ptft.command.training import saved_spec
from ptft.data.data_module import Batch, BatchPlan, DataModule, DataSpec
from ptft.engine.checkpoint import Checkpoint, CheckpointStore
from ptft.engine.evaluate import EVALUATION_BATCH, Evaluation, evaluate
from ptft.engine.plan import Plan, apply_attention, apply_memory_format
from ptft.engine.run_dir import RunDirectory
from ptft.errors import ConfigError
from ptft.runtime.device import choose_device
from ptft.runtime.precision import Precision
from ptft.task.exhibit import Exhibit
from ptft.task.task import Task


@dataclass(frozen=True)
class Bench:
    """A run ready to be measured.

    Attributes:
        run: The run.
        checkpoint: Which of its checkpoints.
        data: The data, prepared as the run prepared them.
        task: The task with its weights, on its device.
        split: The split to look at.
        loaders: A loader for each split.
        precision: Number type of the forward pass.
        max_batches: The most batches to look at; None: all.
    """

    run: RunDirectory
    checkpoint: Checkpoint
    data: DataModule
    task: Task
    split: str
    loaders: Mapping[str, Iterable[Batch]]
    precision: Precision
    max_batches: int | None

    def evaluate(self) -> Evaluation:
        """Return the evaluation of the split, with intervals."""
        return evaluate(
            self.task, self.loaders, self.split, self.precision, max_batches=self.max_batches, with_intervals=True
        )

    def explain(self, method: str, evaluation: Evaluation) -> list[Exhibit]:
        """Return what shows why examples were judged as they were.

        Raises:
            ConfigError: The task or its model knows no such explanation.
        """
        self.task.eval()
        batches = itertools.islice(self.loaders[self.split], self.max_batches)
        return self.task.explain(method, evaluation.records, batches)


def read_checkpoint(run: RunDirectory, named: str) -> Checkpoint:
    """Return the checkpoint that `checkpoint=` names.

    Raises:
        CheckpointError: The run has no such checkpoint.
    """
    return CheckpointStore(run.checkpoints, run.id).load_named(named)


def prepare(builder: Builder, run: RunDirectory, checkpoint: Checkpoint) -> Bench:
    """Build the data and the task of a run, with the weights of a checkpoint.

    Raises:
        ConfigError: The data have no such split.
        DataError: The data do not fit the run.
    """
    settings = builder.settings()
    spec = saved_spec(run.path)
    data = builder.data(spec)
    split = str(builder.config["split"])
    if warning := _seen(spec, data.spec, split, allowed=bool(builder.config["data"].get("allow_changed"))):
        builder.console.warn(warning)
    task = builder.task(data.spec, settings.seed)
    builder.restore(task, checkpoint)
    restore_decision(task, run.path, builder.console.warn)
    device = choose_device(settings.device)
    plan = Plan.from_json(checkpoint.state["plan"])
    task.to(device)
    apply_memory_format(task, plan.memory_format)
    apply_attention(task, plan.attention)
    size = max(settings.batch_size, EVALUATION_BATCH)
    batches = BatchPlan(batch_size=size, device=device, transform=task.own_transform)
    loaders = dict(data.evaluation_loaders(batches))
    if split == "all":
        loaders["all"] = data.every_example(batches)
    if split not in loaders:
        raise ConfigError(f"split={split}: these data have {', '.join(loaders)}")
    same = plan.precision if device == torch.device(plan.device) else "fp32"
    precision = Precision(same if settings.precision == "auto" else settings.precision, device)
    return Bench(run, checkpoint, data, task, split, loaders, precision, settings.evaluation_batches)


def _seen(trained: DataSpec | None, found: DataSpec, split: str, *, allowed: bool) -> str:
    """Return what to know of data whose examples the run may have seen while it was trained, or nothing.

    Args:
        trained: What the run knows of its data.
        found: The data at hand.
        split: What is looked at.
        allowed: Whether other data are meant.
    """
    if trained is None:
        return ""
    if trained.fingerprint == found.fingerprint:
        if split != "all":
            return ""
        return "split=all holds the run's own training examples too, so that the metrics are too good; see split=test"
    if allowed:
        return ""
    share = "" if split == "all" else f". Only their {split} split is judged: split=all judges every example of them"
    return (
        "these are not the data, or not the split, that the run was trained on: if they share examples with its "
        f"training split, the metrics are too good. data.allow_changed=true says that this is meant{share}"
    )
