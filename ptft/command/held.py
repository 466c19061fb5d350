"""What a run holds to be used: the weights of a checkpoint, or the artefact that `ptft compress` delivered.

Whatever uses a run - evaluating, comparing, predicting, compressing it further - is told the same of both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ptft.command.build import Builder
from ptft.data.data_module import DataSpec
from ptft.engine.checkpoint import CheckpointStore
from ptft.engine.plan import Plan, apply_attention, apply_memory_format
from ptft.engine.run_dir import RunDirectory
from ptft.errors import CheckpointError
from ptft.model.artefact import NAME, ArtefactNetwork, read_artefact
from ptft.runtime.device import choose_device
from ptft.runtime.precision import Precision
from ptft.task.task import Task

COMPRESS = "compress"
STAGES = "stages"
"""The folder of a compressed run with a folder for each of its stages, `1_prune`."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A model of a run, ready to be built.

    Attributes:
        run: The run.
        title: What it is, for people: `checkpoint best (step 400)`.
        digest: Its identity.
        step: Optimizer steps behind it.
        plan: How it was trained; of an artefact, what it runs on.
        exported: Whether it is an artefact: no network is built, and it runs on the CPU.
        make: Builds the task with it.
    """

    run: RunDirectory
    title: str
    digest: str
    step: int
    plan: Plan
    exported: bool
    make: Callable[[Builder, DataSpec], Task]

    def task(self, builder: Builder, spec: DataSpec) -> Task:
        """Return the task with this model behind it, on its device, laid out as the plan says."""
        task = self.make(builder, spec)
        task.to(self.device(builder))
        apply_memory_format(task, self.plan.memory_format)
        apply_attention(task, self.plan.attention)
        return task

    def device(self, builder: Builder) -> torch.device:
        """Return where it runs."""
        return torch.device("cpu") if self.exported else choose_device(builder.settings().device)

    def precision(self, builder: Builder) -> Precision:
        """Return the number type of the forward pass; an artefact has its own."""
        settings, device = builder.settings(), self.device(builder)
        if self.exported:
            return Precision("fp32", device)
        same = self.plan.precision if device == torch.device(self.plan.device) else "fp32"
        return Precision(same if settings.precision == "auto" else settings.precision, device)


def open_held(run: RunDirectory, named: str) -> Held:
    """Return the model of a run that `checkpoint=` names.

    Args:
        run: The run.
        named: `best`, `last` or a step; of a compressed run `best`, what was delivered, or the name of a stage.

    Raises:
        CheckpointError: The run has no such model, or it is damaged.
    """
    return _artefact(run, named) if run.record["command"] == COMPRESS else _checkpoint(run, named)


def _checkpoint(run: RunDirectory, named: str) -> Held:
    checkpoint = CheckpointStore(run.checkpoints, run.id).load_named(named)

    def make(builder: Builder, spec: DataSpec) -> Task:
        task = builder.task(spec, builder.settings().seed)
        builder.restore(task, checkpoint)
        return task

    return Held(
        run=run,
        title=f"checkpoint {named} (step {checkpoint.step})",
        digest=checkpoint.digest,
        step=checkpoint.step,
        plan=Plan.from_json(checkpoint.state["plan"]),
        exported=False,
        make=make,
    )


def _artefact(run: RunDirectory, named: str) -> Held:
    folder = run.path / "model" if named in ("best", "last") else _stage_folder(run, named)
    if not (folder / NAME).is_file():
        raise CheckpointError(f"{run.path} has delivered nothing yet: type its command again, and it goes on")
    artefact = read_artefact(folder)

    def make(builder: Builder, spec: DataSpec) -> Task:
        return builder.task_around(ArtefactNetwork(artefact, torch.get_num_threads()), spec)

    parent = (run.record.get("parents") or [{}])[0]
    stage = str(run.record.get("delivered") or "") if folder.name == "model" else named
    return Held(
        run=run,
        title=f"{stage} ({artefact.precision}, {artefact.runtime})",
        digest=artefact.digest,
        step=int(parent.get("step") or 0),
        plan=Plan("cpu", "fp32", "contiguous", 1, torch.get_num_threads()),
        exported=True,
        make=make,
    )


def _stage_folder(run: RunDirectory, named: str) -> Path:
    """Return where the artefact of a stage lies."""
    stages = {path.name.partition("_")[2]: path for path in sorted((run.path / STAGES).glob("*_*"))}
    finished = {name: path for name, path in stages.items() if (path / "stage.json").is_file()}
    if named not in finished:
        there = ", ".join(finished) or "none yet"
        raise CheckpointError(f"checkpoint={named}: {run.path} was compressed and has the stages {there}")
    return finished[named] / "artefact"
