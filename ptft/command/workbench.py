"""What compressing lends to its steps: training examples, recoveries through the engine, the metric on validation."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ptft.command.build import Builder, network_of
from ptft.command.held import Held
from ptft.command.running import as_yaml
from ptft.compression.structure import apply_edits
from ptft.data.data_module import Batch, BatchPlan, DataModule, DataSpec
from ptft.engine.checkpoint import CheckpointStore
from ptft.engine.evaluate import EVALUATION_BATCH, Evaluation, evaluate
from ptft.engine.hooks import Hooks
from ptft.engine.plan import Plan, apply_attention, apply_memory_format
from ptft.engine.run_dir import RunDirectory
from ptft.engine.update import cut
from ptft.engine.weights import load_for_evaluation
from ptft.errors import CheckpointError
from ptft.runtime import files
from ptft.runtime.device import versions
from ptft.runtime.duration import Duration
from ptft.runtime.hook import Hook
from ptft.runtime.precision import Precision
from ptft.task.distillation import Distillation
from ptft.task.task import Task

CPU = torch.device("cpu")
EXACT = Precision("fp32", CPU)
"""Artefacts have number types of their own, and what they are compared with is whole."""
_FULL = {"_target_": "ptft.adapt.full.Full"}
_QUARTERS = "25%"


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """The workshop of one stage (`ptft.compression.step.Workshop`).

    Attributes:
        builder: Builds from the run's config with what was typed on top.
        own: The run of the compression.
        held: The model that is compressed.
        data: The data, set up as the run had them.
        parent: The task with that model, on the CPU.
        baseline: Its evaluation on validation.
        compression: The settings of the pipeline.
        folder: Of the stage that is being made.
    """

    builder: Builder
    own: RunDirectory
    held: Held
    data: DataModule
    parent: Task
    baseline: Evaluation
    compression: Mapping[str, Any]
    folder: Path

    # What the contract tells

    @cached_property
    def spec(self) -> DataSpec:
        """What the data know, and what the task wants."""
        return self.builder.wanted(self.data.spec)

    @property
    def seed(self) -> int:
        """Seed of whatever a step draws."""
        return self.builder.settings().seed

    @property
    def threads(self) -> int:
        """Threads of a runtime."""
        return int(self.compression["measure"]["threads"])

    def say(self, text: str) -> None:
        """Tell a person what was done."""
        self.builder.console.say(f"  {text}")

    def warn(self, text: str) -> None:
        """Tell a person what they should know."""
        self.builder.console.warn(text)

    def batches(self, num_examples: int, batch_size: int = 32) -> Iterator[Batch]:
        """Yield training examples, not augmented, the same every time."""
        plan = BatchPlan(batch_size=batch_size, device=CPU, transform=self.parent.own_transform)
        left = num_examples
        for batch in self.data.evaluation_loaders(plan)["train"]:
            if left <= 0:
                return
            yield cut(batch, left)[0]
            left -= len(batch["index"])

    def steps(self, duration: str) -> int:
        """Return how many optimizer steps a duration is."""
        settings = self.builder.settings()
        return Duration.parse(duration, "recover").steps(self.builder.clock(self.data, settings))

    def evaluate(self, task: Task) -> float:
        """Return the headline metric on validation."""
        return self.evaluation(task).metrics[task.headline.name]

    def allowed_drop(self) -> float | None:
        """Return by how much the headline may fall, in its own unit."""
        most, headline = self.compression["max_drop"], self.parent.headline
        if most is None:
            return None
        if headline.mode == "max":
            return float(most) / headline.scale
        return float(most) / 100 * abs(self.baseline.metrics[headline.name])

    def drop(self, value: float) -> float:
        """Return by how much a value is worse than the parent's, in its own unit."""
        difference = self.baseline.metrics[self.parent.headline.name] - value
        return difference if self.parent.headline.mode == "max" else -difference

    # What the pipeline uses beside

    def evaluation(self, task: Task, split: str = "val", *, with_intervals: bool = False) -> Evaluation:
        """Return an evaluation of a task on a split."""
        return evaluation_of(task, self.data, split, with_intervals=with_intervals)

    def network_of(self, edits: Sequence[Mapping[str, Any]]) -> Task:
        """Return a task with a fresh network of a structure; its weights are yet to be loaded."""
        task = self.builder.task(self.data.spec, self.seed)
        apply_edits(network_of(task), edits)
        task.decision = self.parent.decision
        return task.eval()

    def example(self, num_examples: int = 8) -> Batch:
        """Return a batch of training examples."""
        return next(self.batches(num_examples, num_examples))

    # Training

    def recover(
        self,
        task: Task,
        duration: str,
        hooks: Sequence[Hook] = (),
        *,
        part: str = "recover",
        keep: Literal["best", "last"] = "best",
    ) -> None:
        """Train a task in place through the engine, the parent as its teacher.

        A training that was stopped goes on where its checkpoint stands; one that is done is only loaded.
        """
        path = self.folder / part
        student, builder = self._student(task), self._training_builder(duration)
        try:
            self._recover(path, builder, student, hooks, keep)
        except CheckpointError as error:
            # Damaged, or made where the step cut otherwise: on another machine, say.
            if not (path / "run.json").is_file():
                raise
            self.warn(f"{error}; this training begins anew")
            files.remove(path)
            self._recover(path, builder, student, hooks, keep)
        for one in (task, self.parent):
            one.to(CPU).eval()
            apply_memory_format(one, "contiguous")
            apply_attention(one, self.held.plan.attention)

    def _recover(
        self, path: Path, builder: Builder, student: Task, hooks: Sequence[Hook], keep: Literal["best", "last"]
    ) -> None:
        with self._training_run(path, builder) as run:
            store = CheckpointStore(run.checkpoints, run.id)
            if run.record["status"] != "done":
                self._train(builder, student, run, store, hooks)
                run.finish("done", 0)
        load_for_evaluation(student, store.load_named(keep))

    def _train(
        self, builder: Builder, student: Task, run: RunDirectory, store: CheckpointStore, hooks: Sequence[Hook]
    ) -> None:
        settings = builder.settings()
        checkpoint = store.load_newest(self.warn) if store.steps() else None
        saved = Plan.from_json(checkpoint.state["plan"]) if checkpoint is not None else None
        for parameter in student.get_submodule("model").parameters():
            parameter.requires_grad_(True)  # merged or frozen weights of the run are trained too
        plan = builder.place(student, self.data, settings, saved)
        step = checkpoint.step if checkpoint is not None else 0
        engine = builder.engine(student, self.data, settings, plan, run, step)
        engine.hooks = Hooks(hooks)
        if checkpoint is not None:
            engine.load(checkpoint)
            self.say(f"goes on at step {checkpoint.step} of {engine.stop_step}")
            run.truncate_metrics(checkpoint.step)
        run.save(plan=plan.to_json())
        engine.fit()
        engine.recorder.close()

    def _student(self, task: Task) -> Task:
        recovery = dict(self.compression["recovery"])
        del recovery["lr_scale"]
        if not task.distils or not any(recovery[name] for name in ("share", "hidden", "attention")):
            return task
        return Distillation(task, self.parent, **recovery)

    def _training_builder(self, duration: str) -> Builder:
        """Return a builder whose engine trains for a duration, at the rate of a recovery."""
        config = dict(self.builder.config)
        config["adapt"] = _FULL
        config["objective"] = None
        config["engine"] = {
            **config["engine"], "max": duration, "stop_at": None, "early_stopping": None, "swa": None,
            "evaluate_every": _QUARTERS, "checkpoint_every": _QUARTERS, "keep_last": 1, "profile": False,
        }  # fmt: skip
        scale = float(self.compression["recovery"]["lr_scale"])
        optimizer = config["optimizer"]
        phases = {
            name: {**own, "lr": own["lr"] * scale} if "lr" in own else own
            for name, own in (optimizer.get("phases") or {}).items()
        }
        config["optimizer"] = {**optimizer, "lr": optimizer["lr"] * scale, "phases": phases or None}
        config["schedule"] = {**config["schedule"], "warmup": self._warmup(str(config["schedule"]["warmup"]), duration)}
        return dataclasses.replace(self.builder, config=config)

    def _warmup(self, asked: str, duration: str) -> str:
        """Return the warm-up of a recovery: the run's own, but a tenth of the recovery at most."""
        warmup = Duration.parse(asked, "schedule.warmup")
        return asked if warmup.unit == "%" else f"{min(self.steps(asked), self.steps(duration) // 10)}st"

    def _training_run(self, path: Path, builder: Builder) -> RunDirectory:
        """Return the run directory of a recovery, made or taken up again."""
        if (path / "run.json").is_file():
            try:
                if RunDirectory.reopen(path).record["status"] == "done":
                    return RunDirectory.reopen(path)
                return RunDirectory.resume(path)
            except CheckpointError as error:
                self.warn(f"{error}; this training begins anew")
        facts = {"command": "recover", "argv": [], "parents": [self.held.run.id], "versions": versions()}
        texts = {"config.yaml": as_yaml(builder.config)}
        return RunDirectory.create(path, overwrite=True, facts=facts, texts=texts)


def evaluation_of(task: Task, data: DataModule, split: str, *, with_intervals: bool = False) -> Evaluation:
    """Return the evaluation of a task on the CPU, whatever stands behind it, on a split."""
    plan = BatchPlan(batch_size=EVALUATION_BATCH, device=CPU, transform=task.own_transform)
    return evaluate(task, data.evaluation_loaders(plan), split, EXACT, with_intervals=with_intervals)


def agreement(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float | None:
    """Return the share of examples that two evaluations predict the same of, or None where nothing is predicted."""
    if "prediction" not in one or "prediction" not in other:
        return None
    first, second = (records["prediction"][records["index"].argsort(stable=True)] for records in (one, other))
    if first.shape != second.shape or first.dtype.is_floating_point:
        return None
    return float((first == second).reshape(len(first), -1).all(dim=1).double().mean()) if len(first) else None
