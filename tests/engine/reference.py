"""The reference run: a small MLP with dropout and batch norm, AdamW, warm-up and cosine, augmentation, weight averages.

`make(directory)` builds an engine around it, `digest(engine)` hashes everything that must be equal to the bit.
"""

import hashlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ptft.augmentation.vision.crop import RandomCrop
from ptft.data.vision.digits import Digits
from ptft.engine.checkpoint import CheckpointStore
from ptft.engine.console import Console
from ptft.engine.engine import Engine
from ptft.engine.objective import Objective
from ptft.engine.optimize import PhaseOptimizer
from ptft.engine.plan import resolve_plan
from ptft.engine.recorder import Recorder
from ptft.engine.run_dir import RunDirectory
from ptft.engine.settings import EmaSettings, EngineSettings
from ptft.engine.state import flatten
from ptft.errors import Interrupted
from ptft.model.vision.mlp import MLP
from ptft.optimizer.adamw import adamw
from ptft.optimizer.groups import embedding_names, parameter_groups
from ptft.optimizer.lean import skip_compiler
from ptft.runtime.duration import Clock, Duration
from ptft.runtime.precision import Precision
from ptft.schedule.cosine import Cosine
from ptft.schedule.schedule import WarmedUp
from ptft.task.classification import Classification

SETTINGS = EngineSettings(
    batch_size=32,
    max="40st",
    evaluate_every="10st",
    checkpoint_every="3st",
    log_every="4st",
    precision="fp32",
    device="cpu",
    memory_format="contiguous",
    keep_last=100,
    ema=EmaSettings(decay=0.9),
)


class Quiet(Console):
    """A console that keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    warn = say


def digits(workers=0):
    """Return the bundled digits, set up, shifted at random."""
    data = Digits([RandomCrop(padding=1)], num_workers=workers)
    data.setup()
    return data


def digits_task(spec, seed=0):
    """Return the reference network and its task."""
    torch.manual_seed(seed)
    return Classification(MLP(spec, hidden=[32], dropout=0.2, norm="batch"), spec, label_smoothing=0.1)


def make_optimizers(task, settings, clock, *, lr=1e-2, warmup=5, l1=0.0):
    """Return AdamW with warm-up and cosine for each phase."""
    scaler = Precision(settings.precision, torch.device("cpu")).scaler()
    optimizers = {}
    for phase in task.phases:
        groups = parameter_groups(task.parameters_of(phase), embedding_names(task))
        schedule = Cosine()
        schedule.setup(clock)
        optimizers[phase] = PhaseOptimizer(
            adamw(groups, lr=lr, weight_decay=0.05),
            WarmedUp(schedule, warmup, clock.max_steps),
            scaler,
            clip_norm=settings.clip_norm,
            l1=l1,
        )
    return optimizers


def make(directory: Path, *, data=None, task=None, console=None, optimizers=None, **changes) -> Engine:
    """Return an engine for the reference run in a run directory, new or old."""
    settings = replace(SETTINGS, **changes)
    torch.set_num_threads(1)
    skip_compiler()
    data = data or digits()
    task = task or digits_task(data.spec)
    if (directory / "run.json").exists():
        run = RunDirectory.reopen(directory)
    else:
        run = RunDirectory.create(directory, overwrite=False, facts={"command": "finetune"})
    clock = Clock(settings.batch_size, data.num_examples)
    clock = replace(clock, max_steps=Duration.parse(settings.max).steps(clock))
    micro = settings.batch_size if settings.micro_batch_size == "auto" else settings.micro_batch_size
    task.train()
    plan = resolve_plan(settings, task, {"index": torch.arange(settings.batch_size)}, lambda text: None)
    plan = replace(plan, micro_batch_size=micro)
    return Engine(
        task,
        data,
        optimizers or make_optimizers(task, settings, clock),
        settings,
        plan=plan,
        clock=clock,
        objective=Objective.parse(None, task.headline),
        store=CheckpointStore(run.checkpoints, run.id, settings.keep_last),
        recorder=Recorder(run),
        console=console or Quiet(),
    )


def resume(directory: Path, **changes) -> Engine:
    """Return an engine that stands at the newest checkpoint of a run."""
    engine = make(directory, **changes)
    checkpoint = engine.store.load_newest(engine.console.warn)
    if checkpoint is not None:
        engine.load(checkpoint)
        engine.recorder.run.truncate_metrics(checkpoint.step)
    return engine


def digest(engine: Engine) -> str:
    """Return a hash of weights, buffers and all other state; times are left out."""
    state = engine.state_dict()
    del state["stopwatch"]
    skeleton, tensors = flatten({"task": dict(engine.task.state_dict()), **state})
    total = hashlib.sha256(json.dumps(skeleton, sort_keys=True).encode())
    for name in sorted(tensors):
        total.update(name.encode() + tensors[name].numpy().tobytes())
    return total.hexdigest()


def losses(engine: Engine) -> dict[int, str]:
    """Return the logged training losses by step, as exact hexadecimal floats."""
    rows = engine.recorder.run.read_metrics()
    return {row["step"]: row["train/loss"].hex() for row in rows if "train/loss" in row}


def stop_after(engine: Engine, step: int) -> None:
    """Train until a SIGTERM arrives right after a step."""
    original = engine.task.after_update

    def after_update(done, max_steps):
        original(done, max_steps)
        if done + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)

    engine.task.after_update = after_update
    with pytest.raises(Interrupted) as stopped:
        engine.fit()
    assert stopped.value.exit_code == 143
    assert engine.step == step
