"""What evaluating and comparing share: from a run and one of its models to an evaluation of one split."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ptft.command.build import Builder
from ptft.command.decision import restore_decision
from ptft.command.held import Held
from ptft.command.training import saved_spec
from ptft.data.data_module import Batch, BatchPlan, DataModule, DataSpec
from ptft.engine.evaluate import EVALUATION_BATCH, Evaluation, evaluate
from ptft.engine.run_dir import RunDirectory
from ptft.errors import ConfigError
from ptft.runtime.precision import Precision
from ptft.task.exhibit import Exhibit
from ptft.task.task import Task


@dataclass(frozen=True)
class Bench:
    """A run ready to be measured.

    Attributes:
        run: The run.
        held: Which of its models.
        data: The data, prepared as the run prepared them.
        task: The task with its weights, on its device.
        split: The split to look at.
        loaders: A loader for each split.
        precision: Number type of the forward pass.
        max_batches: The most batches to look at; None: all.
    """

    run: RunDirectory
    held: Held
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


def prepare(builder: Builder, run: RunDirectory, held: Held) -> Bench:
    """Build the data and the task of a run, with one of its models.

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
    task = held.task(builder, data.spec)
    restore_decision(task, run.path, builder.console.warn)
    size = max(settings.batch_size, EVALUATION_BATCH)
    batches = BatchPlan(batch_size=size, device=held.device(builder), transform=task.own_transform)
    loaders = dict(data.evaluation_loaders(batches))
    if split == "all":
        loaders["all"] = data.every_example(batches)
    if split not in loaders:
        raise ConfigError(f"split={split}: these data have {', '.join(loaders)}")
    precision = held.precision(builder)
    return Bench(run, held, data, task, split, loaders, precision, settings.evaluation_batches)


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
