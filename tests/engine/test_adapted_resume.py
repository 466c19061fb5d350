"""Gradual unfreezing and LoRA in the reference run: resumed equals uninterrupted, to the bit."""

import pytest
import torch

from ptft.adapt.gradual import Gradual
from ptft.adapt.lora import MARK, Lora
from ptft.engine.hooks import Hooks
from tests.engine import reference
from tests.engine.reference import digest, digits, digits_task, losses, make, stop_after

ADAPT = {"gradual": Gradual(every="8st"), "lora": Lora(rank=2, dropout=0.2)}


def make_adapted(name, directory, **changes):
    """Return an engine for the reference run with an adaptation, built in the order of the commands."""
    adapt, data = ADAPT[name], digits()
    task = digits_task(data.spec)
    adapt.structure(task.model)
    adapt.apply(task.model)
    engine = make(directory, data=data, task=task, **changes)
    engine.hooks = Hooks(adapt.hooks(task.model, engine.clock))
    return engine


def resume_adapted(name, directory):
    engine = make_adapted(name, directory)
    engine.load(engine.store.load_newest(engine.console.warn))
    engine.recorder.run.truncate_metrics(engine.step)
    return engine


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    found = {}
    for name in ADAPT:
        engine = make_adapted(name, tmp_path_factory.mktemp(name) / "run")
        engine.fit()
        found[name] = digest(engine), losses(engine)
    return found


@pytest.mark.parametrize(("name", "step"), [("gradual", s) for s in (1, 7, 8, 9, 15, 16, 30)] + [("lora", 17)])
def test_resume_equals_uninterrupted(tmp_path, uninterrupted, name, step):
    stop_after(make_adapted(name, tmp_path / "run"), step)
    engine = resume_adapted(name, tmp_path / "run")
    engine.fit()
    assert (digest(engine), losses(engine)) == uninterrupted[name]


@pytest.mark.parametrize("name", ADAPT)
def test_evaluating_more_often_changes_no_training_bit(tmp_path, uninterrupted, name):
    one = make_adapted(name, tmp_path / "one")
    two = make_adapted(name, tmp_path / "two", evaluate_every="1st", log_every="3st")
    one.fit()
    two.fit()
    for key, tensor in one.task.state_dict().items():
        assert torch.equal(tensor, two.task.state_dict()[key]), key


def test_layers_join_at_their_steps_and_stand_still_before(tmp_path):
    engine = make_adapted("gradual", tmp_path / "run")
    start = {name: value.clone() for name, value in engine.task.state_dict().items()}
    moved = {}
    original = engine.task.after_update

    def after_update(step, max_steps):
        original(step, max_steps)
        state = engine.task.state_dict()
        moved[step] = {name for name, value in state.items() if not torch.equal(value, start[name])}

    engine.task.after_update = after_update
    engine.fit()
    head = {"model.head.weight", "model.head.bias"}
    assert all(moved[step] == head for step in range(8))
    assert moved[8] == set(start)


def test_without_the_hook_at_the_start_a_resumed_run_differs(tmp_path, uninterrupted):
    stop_after(make_adapted("gradual", tmp_path / "run"), 4)
    engine = resume_adapted("gradual", tmp_path / "run")
    apply = engine.hooks.apply
    engine.hooks.apply = lambda step: apply(step) if step > 4 else None
    engine.fit()
    assert digest(engine) != uninterrupted["gradual"][0]


def test_the_weights_beneath_the_updates_stand_still(tmp_path):
    engine = make_adapted("lora", tmp_path / "run")
    before = {name: value.clone() for name, value in engine.task.state_dict().items()}
    engine.fit()
    for name, value in engine.task.state_dict().items():
        assert torch.equal(value, before[name]) != (MARK in name or ".head." in name), name


def test_the_reference_run_is_the_one_of_the_other_tests():
    assert reference.SETTINGS.ema is not None
