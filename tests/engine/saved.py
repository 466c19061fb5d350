"""Checkpoints to save, damage and load, with contents that tell their step."""

import os

import pytest
import torch

from ptft.engine.checkpoint import CheckpointStore

RUN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """The faults here are made at the calls of `files`; tests/runtime/test_files.py looks at fsync."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def contents(step):
    """Return tensors and state of which every part tells the step."""
    values = torch.arange(7.0) + step
    tied = torch.full((2, 3), float(step))
    tensors = {
        "model.weight": tied,
        "model.tied": tied,
        "model.count": torch.tensor(step),
        "model.empty": torch.ones(0),
    }
    state = {"step": step, "optimizers": {"model": {0: {"exp_avg": values, "step": float(step)}}}, "ema": None}
    return tensors, state


def is_whole(checkpoint):
    """Tell whether every part of a checkpoint is of its step: old or new, never a mix."""
    step = checkpoint.step
    return (
        bool((checkpoint.tensors["model.weight"] == step).all())
        and torch.equal(checkpoint.tensors["model.tied"], checkpoint.tensors["model.weight"])
        and checkpoint.tensors["model.count"].item() == step
        and checkpoint.state["step"] == step
        and torch.equal(checkpoint.state["optimizers"]["model"][0]["exp_avg"], torch.arange(7.0) + step)
    )


def save(store, step, is_best=False):
    """Save as the engine does."""
    store.save(step, *contents(step))
    if is_best:
        store.point("best", step, value=0.5)
    store.clean()


def store_at(directory, keep_last=2):
    directory.parent.mkdir(parents=True, exist_ok=True)
    return CheckpointStore(directory, RUN, keep_last)


def newest(store):
    """Load the newest checkpoint; nothing damaged may stand in the way."""
    warnings = []
    checkpoint = store.load_newest(warnings.append)
    assert warnings == []
    return checkpoint
