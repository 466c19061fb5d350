"""The contract of a task: networks, loss, metrics and how a batch is read.

A Task owns meaning, the Engine owns time: a task knows no device, no optimizer and no step count.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch
from ptft.errors import ConfigError
from ptft.runtime.random import Draws
from ptft.task.exhibit import Exhibit

Outputs = dict[str, Tensor]
Records = dict[str, Tensor]
"""Per example, all of the same first dimension and on the CPU: index, label, prediction, score."""
Media = dict[str, Tensor | str]
"""Pictures, (3 or 1, height, width) float in [0, 1], and texts to look at, by name."""


@dataclass(frozen=True)
class MetricSpec:
    """The metric a task is judged by.

    Attributes:
        name: Without its split: `accuracy`, not `val/accuracy`.
        mode: Whether more or less is better.
        scale: What the value is multiplied by for people: 100 turns a share into points.
    """

    name: str
    mode: Literal["max", "min"] = "max"
    scale: float = 1.0

    def better(self, new: float, old: float) -> bool:
        """Tell whether `new` is strictly better than `old`; a value that is not a number never is."""
        return new > old if self.mode == "max" else new < old


@dataclass(frozen=True)
class StepOutput:
    """What a loss returns for one micro-batch.

    Attributes:
        sums: Sum of each loss term over the items of the batch: scalar tensors that carry a gradient.
        coefficients: Weight of each term in the total; a term that is missing has weight 1.
        scalars: Further scalar tensors worth a curve, without gradient.
    """

    sums: dict[str, Tensor]
    coefficients: dict[str, float] = field(default_factory=dict)
    scalars: dict[str, Tensor] = field(default_factory=dict)


class Metrics(Protocol):
    """Accumulates over an evaluation and gives exact values at any batch size."""

    def compute(self) -> dict[str, float]:
        """Return each metric by name, without its split."""
        ...

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return 95% bootstrap intervals of the metrics that have one."""
        ...

    def table(self) -> list[dict[str, Any]]:
        """Return rows for a per-class table (may be empty)."""
        ...


@runtime_checkable
class ExampleMetrics(Metrics, Protocol):
    """Metrics that know each example, so that groups of them, and two evaluations, can be told apart."""

    def subset(self, rows: Tensor) -> Self:
        """Return metrics over some examples only, or over all in another order.

        Args:
            rows: (N,) bool marks rows of the records; or int64 numbers of rows, in the order wanted.
        """
        ...

    def differences(self, other: Self) -> dict[str, tuple[float, float]]:
        """Return 95% bootstrap intervals of `other`'s metrics minus these, paired by example.

        Both took in the same examples in the same order.
        """
        ...


@dataclass(frozen=True)
class ExportSpec:
    """What can be exported: a module of plain tensors in, plain tensors out.

    Attributes:
        module: The network, in evaluation mode.
        inputs: Input names in order, each with the shape of one example.
        outputs: Output names in order.
        dynamic: For each input, its dynamic axes by name.
    """

    module: nn.Module
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Sequence[str]
    dynamic: Mapping[str, Mapping[int, str]]


class Task(nn.Module, ABC):
    """Networks, loss and metrics of one learning problem.

    A subclass is built as `SomeTask(model, spec, *, its settings)`; what a config may set stands after the `*`.
    """

    phases: tuple[str, ...] = ("model",)
    """Names of the networks updated in turn within one step; each names an attribute when there are several."""
    external: tuple[str, ...] = ()
    """Attributes (a teacher) that are moved and put in evaluation mode, never trained, averaged or saved."""
    headline: MetricSpec = MetricSpec("loss", "min")
    splittable: bool = True
    """False: a batch must not be cut into micro-batches (in-batch negatives)."""
    views: int = 1
    """Augmented views of each example that a training batch holds."""
    labelled: bool = True
    """False: needs no labels to train."""
    output: str = "classes"
    """What the network must give, a word of `ptft.model.spec`; the model is built for it."""
    mixed_labels: bool = False
    """True: the loss reads `partner_label` and `label_share`, which augmentations that mix images add to a batch."""
    distils: bool = False
    """True: its outputs can be compared with those of a teacher (`full_outputs`, `soft_count` and `soft_loss`)."""
    decides: bool = False
    """True: predictions hang on a number, a threshold say, that `fit_decision` chooses on validation."""
    decision: Mapping[str, float] = MappingProxyType({})
    """What `fit_decision` returned, by name; empty while it was not asked yet, and then a usual value holds."""

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        """Return a batch with what this task adds to it - masked tokens, say - before it reaches the engine.

        Called by the loaders, last of all, in their threads: a pure function of the batch and `draws`, which are those
        of each example in its epoch (in evaluation the same every time).
        """
        return batch

    @property
    def own_transform(self) -> Callable[[Batch, Draws], Batch] | None:
        """`transform` where the task has one of its own, as a BatchPlan takes it; else None, which costs nothing."""
        return self.transform if type(self).transform is not Task.transform else None

    @abstractmethod
    def forward(self, batch: Batch) -> Outputs:
        """Return the outputs of the networks for a batch."""

    @abstractmethod
    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return how many items stand behind each loss term, or the sum of their weights; known before any forward."""

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the sum of each loss term over the batch."""

    def full_outputs(self, batch: Batch) -> Outputs:
        """Return the outputs with all that `soft_loss` compares; of most tasks that is what `forward` gives."""
        outputs: Outputs = self(batch)
        return outputs

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return how many items stand behind each term of `soft_loss`, as `count` does."""
        return {}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return how far the outputs are from a teacher's, summed over the batch; what the labels say plays no part.

        Args:
            outputs: What `full_outputs` gave.
            teacher: What the teacher's `full_outputs` gave; no gradient flows into it.
            batch: The batch.
            temperature: What logits are divided by before they are compared.

        Raises:
            ConfigError: The task cannot be distilled.
        """
        raise ConfigError(f"task {type(self).__name__} cannot be distilled: it gives nothing that a teacher gives too")

    @abstractmethod
    def make_metrics(self) -> Metrics:
        """Return fresh metrics for one evaluation."""

    @abstractmethod
    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: Any) -> Records:
        """Update the metrics made by `make_metrics` and return what is kept of each example."""

    def decode(self, outputs: Outputs, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what a user reads of each row: labels and probabilities, entities, answers; plain JSON values.

        Args:
            outputs: What `forward` gave for the batch.
            batch: What `DataModule.batch_of(rows)` gave; its `index` tells the row of each example.
            rows: What the user gave.

        Raises:
            ConfigError: The task says nothing of single examples.
        """
        raise ConfigError(f"task {type(self).__name__} predicts nothing of single examples")

    def predict(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what a user reads of each row. Called in evaluation mode, without gradients, under autocast."""
        return self.decode(self(batch), batch, rows)

    def samples(self, generator: torch.Generator) -> Media | None:
        """Return pictures or texts to look at after an evaluation, or None; draws only from `generator` (CPU)."""
        return None

    def exhibits(self, records: Records) -> list[Exhibit]:
        """Return what is worth showing of an evaluation, given the records of all examples; none by default."""
        return []

    def explain(self, method: str, records: Records, batches: Iterable[Batch]) -> list[Exhibit]:
        """Return what shows why examples were judged as they were. Called in evaluation mode.

        Args:
            method: How: `gradcam`.
            records: The records of all examples of a split.
            batches: The batches of the same split, again.

        Raises:
            ConfigError: This task or its model knows no such explanation.
        """
        raise ConfigError(f"evaluate.explain={method}: {type(self).__name__} has no such explanation; leave it out")

    def fit_decision(self, metrics: Any) -> dict[str, float]:
        """Return what predictions are decided by: thresholds by name, the best ones for an evaluation of validation.

        Asked once a run, if `decides`, with the weights that are kept and before the test split is read. The command
        puts the answer in `decision`, for `make_metrics`, `evaluation_step` and `decode` to follow, and in the run's
        model/decision.json, from where every later command takes it.

        Args:
            metrics: What `make_metrics` made, after all of the validation split; `decision` was empty.
        """
        return {}

    def before_evaluation(self, loaders: Mapping[str, Iterable[Batch]]) -> None:
        """Prepare an evaluation: embed neighbours, for example. Called in evaluation mode, without gradients."""

    def after_update(self, step: int, max_steps: int) -> None:
        """Do what follows an optimizer step: move a momentum teacher, clamp a temperature."""

    def export(self) -> dict[str, ExportSpec]:
        """Return what can be exported, by name; empty when nothing can."""
        return {}

    def parameters_of(self, phase: str) -> dict[str, nn.Parameter]:
        """Return the trainable parameters that a phase updates, by their full names.

        With one phase these are all of the task's own; with several, those of the attribute the phase names.
        """
        prefix = "" if len(self.phases) == 1 else f"{phase}."
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and name.startswith(prefix) and name.partition(".")[0] not in self.external
        }

    def train(self, mode: bool = True) -> "Task":
        """Set training or evaluation mode; frozen modules and external networks stay in evaluation mode.

        A frozen batch norm would otherwise go on moving its statistics.
        """
        super().train(mode)
        for module in self.modules():
            if getattr(module, "frozen", False):
                module.eval()
        for name in self.external:
            self.get_submodule(name).eval()
        return self

    def label_names(self) -> tuple[str, ...]:
        """Return the names behind predicted numbers, in order; empty when there are none."""
        return ()
