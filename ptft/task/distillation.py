"""Knowledge distillation: a task that wraps another one and learns from a teacher too (arXiv 1503.02531).

    loss = (1 - share) * the task's own + share * softened outputs + hidden * states + attention * relations

Hidden states are compared at evenly mapped blocks, the last with the last, as in PKD (arXiv 1908.09355) and TinyBERT
(arXiv 1909.10351); attention by how the queries, keys and values of the last block relate, as in MiniLMv2 (arXiv
2012.15828). So student and teacher may differ in depth, width and heads, and the student keeps no weights for it.

Left out: learned projections between widths, and several teachers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch
from ptft.runtime.random import Draws
from ptft.task.block_states import check_watchable, watching
from ptft.task.exhibit import Exhibit
from ptft.task.likeness import unlikeness
from ptft.task.task import ExportSpec, Media, Metrics, Outputs, Records, StepOutput, Task
from ptft.task.teacher_fit import check_teacher
from ptft.types import NonNegativeFloat, PositiveFloat, UnitFloat

_OF_TEACHER = "teacher."
"""What the names of a teacher's outputs begin with."""


class Distillation(Task):
    """A task whose network also learns to give what a teacher gives; everything but the loss is the task's own.

    The networks, and so the names in a checkpoint, are those of the task: what was trained so is evaluated without a
    teacher. Without gradients the teacher is not asked.
    """

    external = ("teacher",)

    def __init__(
        self,
        task: Task,
        teacher: Task,
        *,
        temperature: PositiveFloat = 4.0,
        share: UnitFloat = 0.9,
        hidden: NonNegativeFloat = 0.0,
        attention: NonNegativeFloat = 0.0,
    ) -> None:
        """Wrap a task, whose networks are shared.

        Args:
            task: The student.
            teacher: A trained task of the same kind; goes with this one to its device and stays in evaluation mode.
            temperature: What logits are divided by before they are compared; above 1 the teacher's small probabilities
                count for more.
            share: Share of the teacher's outputs in the loss; the rest is the task's own. 1: labels play no part.
            hidden: Weight of how far the hidden states are apart.
            attention: Weight of how differently attention relates tokens.

        Raises:
            ConfigError: The task cannot be distilled, teacher and student do not fit, or a network has nothing of what
                `hidden` and `attention` compare.
        """
        super().__init__()
        check_teacher(task, teacher)
        self._wrapped = (task,)  # in a tuple, as a module of its own its tensors would have two names
        self._parameters, self._buffers = task._parameters, task._buffers
        self._non_persistent_buffers_set = task._non_persistent_buffers_set
        self._modules.update(task._modules)
        self.teacher = teacher
        self.temperature = temperature
        self.share = share
        self.hidden = hidden
        self.attention = attention
        self.phases, self.headline, self.output = task.phases, task.headline, task.output
        self.splittable, self.views, self.labelled = task.splittable, task.views, task.labelled
        self.mixed_labels, self.decides = task.mixed_labels, task.decides
        for who, network in (("the student", task), ("the teacher", teacher)) if self._weights else ():
            check_watchable(_network(network), who, states=hidden > 0, projections=attention > 0)
        self.train(task.training)

    @property
    def task(self) -> Task:
        """The task that is wrapped, in the mode of this one."""
        task = self._wrapped[0]
        task.training = self.training
        return task

    @property
    def _weights(self) -> dict[str, float]:
        """The weights of the terms about what goes on inside the networks, without those of 0."""
        weights = {"hidden_states": self.hidden, "attention_relations": self.attention}
        return {name: weight for name, weight in weights.items() if weight}

    # ---- The loss ---------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Outputs:
        """Return the task's outputs; with gradients also the teacher's, as `teacher.<name>`, and what is unlike inside.

        `hidden_states` and `attention_relations` are the sums of their loss terms.
        """
        task = self.task
        if not torch.is_grad_enabled() or not (self.share or self._weights):
            plain: Outputs = task(batch)
            return plain
        wanted = {"states": self.hidden > 0, "projections": self.attention > 0}
        with watching(_network(task), "the student", **wanted) as own:
            outputs = task.full_outputs(batch)
        with torch.no_grad(), watching(_network(self.teacher), "the teacher", **wanted) as known:
            theirs = self.teacher.full_outputs(batch)
        # How alike tokens are is a matter of small differences, too small for 16 bits.
        with torch.autocast(batch["index"].device.type, enabled=False):
            inside = unlikeness(own, known, batch)
        return outputs | {_OF_TEACHER + name: value for name, value in theirs.items()} | inside

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return what the task counts, what the teacher's outputs are compared by, and the examples."""
        counts = self.task.count(batch, phase) if self.share < 1 else {}
        if self.share:
            counts |= self.task.soft_count(batch)
        return counts | {name: len(batch["index"]) for name in self._weights}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the terms of the task and those of the teacher, with their shares as coefficients."""
        parts: list[tuple[float, StepOutput]] = []
        if self.share < 1:
            parts.append((1 - self.share, self.task.loss(outputs, batch, phase)))
        if self.share:
            start = len(_OF_TEACHER)
            theirs = {name[start:]: value for name, value in outputs.items() if name.startswith(_OF_TEACHER)}
            parts.append((self.share, self.task.soft_loss(outputs, theirs, batch, self.temperature)))
        parts += [(weight, StepOutput({name: outputs[name]})) for name, weight in self._weights.items()]
        total = StepOutput({})
        for weight, part in parts:
            total.sums.update(part.sums)
            total.coefficients.update({name: weight * part.coefficients.get(name, 1.0) for name in part.sums})
            total.scalars.update(part.scalars)
        return total

    # ---- What is the task's own -------------------------------------------------------------------------------------

    @property
    def decision(self) -> Mapping[str, float]:
        """What the task decides by; written through to it."""
        return self.task.decision

    @decision.setter
    def decision(self, values: Mapping[str, float]) -> None:
        """Let the task decide by these."""
        self.task.decision = values

    @property
    def own_transform(self) -> Callable[[Batch, Draws], Batch] | None:
        """That of the task."""
        return self.task.own_transform

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        """Return a batch with what the task adds to it."""
        return self.task.transform(batch, draws)

    def make_metrics(self) -> Metrics:
        """Return fresh metrics of the task."""
        return self.task.make_metrics()

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: Any) -> Records:
        """Update the task's metrics and return what it keeps of each example."""
        return self.task.evaluation_step(outputs, batch, metrics)

    def decode(self, outputs: Outputs, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what the task tells of each row."""
        return self.task.decode(outputs, batch, rows)

    def predict(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what the task tells of each row."""
        return self.task.predict(batch, rows)

    def samples(self, generator: torch.Generator) -> Media | None:
        """Return what the task has to look at."""
        return self.task.samples(generator)

    def exhibits(self, records: Records) -> list[Exhibit]:
        """Return what the task shows of an evaluation."""
        return self.task.exhibits(records)

    def explain(self, method: str, records: Records, batches: Iterable[Batch]) -> list[Exhibit]:
        """Return what the task says of why examples were judged as they were."""
        return self.task.explain(method, records, batches)

    def fit_decision(self, metrics: Any) -> dict[str, float]:
        """Return what the task decides by."""
        return self.task.fit_decision(metrics)

    def before_evaluation(self, loaders: Mapping[str, Iterable[Batch]]) -> None:
        """Let the task prepare an evaluation."""
        self.task.before_evaluation(loaders)

    def after_update(self, step: int, max_steps: int) -> None:
        """Let the task do what follows an optimizer step."""
        self.task.after_update(step, max_steps)

    def export(self) -> dict[str, ExportSpec]:
        """Return what the task exports."""
        return self.task.export()

    def label_names(self) -> tuple[str, ...]:
        """Return the names of the task's labels."""
        return self.task.label_names()


def _network(task: Task) -> nn.Module:
    return task.get_submodule(task.phases[0])
