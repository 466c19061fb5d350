"""One evaluation of a split: every example once, exact at any batch size, no training bit changed."""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ptft.data.data_module import Batch
from ptft.runtime.precision import Precision
from ptft.task.task import ExampleMetrics, Media, Metrics, Task

EVALUATION_BATCH = 256
"""Least examples in a forward pass of an evaluation, which keeps no activations."""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        metrics: Each metric by name, without its split.
        intervals: 95% bootstrap intervals, for those that have one.
        table: Rows of a per-class table; may be empty.
        records: Per example: index, label, prediction, score.
        media: Pictures to look at.
        num_examples: Examples seen.
        seconds: Wall-clock time.
        source: What the metrics were computed from.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)
    records: dict[str, Tensor] = field(default_factory=dict)
    media: Media = field(default_factory=dict)
    num_examples: int = 0
    seconds: float = 0.0
    source: Metrics | None = None


@torch.no_grad()
def evaluate(
    task: Task,
    loaders: Mapping[str, Iterable[Batch]],
    split: str,
    precision: Precision,
    *,
    max_batches: int | None = None,
    with_intervals: bool = False,
) -> Evaluation:
    """Evaluate a task on a split, in evaluation mode; the mode of every module is put back afterwards.

    Args:
        task: The task, on its device.
        loaders: A loader for each split; only `split` is read, unless the task prepares itself on another.
        split: The split to evaluate.
        precision: Number type of the forward pass.
        max_batches: Look at the first batches only.
        with_intervals: Compute bootstrap intervals too.
    """
    started = time.monotonic()
    modes = {module: module.training for module in task.modules()}
    # Evaluation may not move the random numbers of training, whatever a task does in it.
    with torch.random.fork_rng(devices=[], enabled=True):
        task.eval()
        try:
            with precision.autocast():
                task.before_evaluation(loaders)
            metrics, records = _run(task, itertools.islice(loaders[split], max_batches), precision)
            media = task.samples(torch.Generator().manual_seed(0)) or {}
        finally:
            for module, training in modes.items():
                module.training = training
    return Evaluation(
        metrics=metrics.compute(),
        intervals=metrics.intervals() if with_intervals else {},
        table=metrics.table(),
        records=records,
        media=media,
        num_examples=_num_examples(records),
        seconds=time.monotonic() - started,
        source=metrics,
    )


def part_of(evaluation: Evaluation, rows: Tensor) -> Evaluation | None:
    """Return the evaluation of some of its examples alone, or None where the metrics cannot be told apart.

    Args:
        evaluation: The whole one, with its `source`.
        rows: (N,) bool, which rows of its records.
    """
    if not isinstance(evaluation.source, ExampleMetrics):
        return None
    metrics = evaluation.source.subset(rows)
    records = {name: values[rows] for name, values in evaluation.records.items()}
    return Evaluation(metrics.compute(), metrics.intervals(), [], records, num_examples=_num_examples(records))


def in_order(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation with its examples in the order of their numbers, so that it can be paired with another.

    Texts are evaluated by length, which another tokenizer changes. Where an example has several rows, or the metrics
    cannot be told apart, it is returned as it is.
    """
    index = evaluation.records.get("index")
    if index is None or not isinstance(evaluation.source, ExampleMetrics) or len(torch.unique(index)) < len(index):
        return evaluation
    order = index.argsort()
    records = {name: values[order] for name, values in evaluation.records.items()}
    return dataclasses.replace(evaluation, records=records, source=evaluation.source.subset(order))


def _num_examples(records: Mapping[str, Tensor]) -> int:
    """Return how many examples there are; a task may keep several rows of one."""
    return len(torch.unique(records["index"])) if records else 0


def _run(task: Task, batches: Iterable[Batch], precision: Precision) -> tuple[Metrics, dict[str, Tensor]]:
    metrics = task.make_metrics()
    parts: list[dict[str, Tensor]] = []
    for batch in batches:
        with precision.autocast():
            outputs = task(batch)
        parts.append({name: value.cpu() for name, value in task.evaluation_step(outputs, batch, metrics).items()})
    records = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
    return metrics, records
