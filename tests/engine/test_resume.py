"""A run that is stopped and resumed ends with the same bits as one that is not; negative controls show we would see."""

import pytest
import torch

from ptft.engine import update
from ptft.engine.engine import Engine
from ptft.engine.settings import EarlyStoppingSettings
from tests.engine.reference import SETTINGS, digest, digits, digits_task, losses, make, resume, stop_after


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The digest and the losses of the reference run, never stopped."""
    engine = make(tmp_path_factory.mktemp("reference") / "run")
    engine.fit()
    return digest(engine), losses(engine)


def stopped_and_resumed(directory, step, **changes) -> Engine:
    stop_after(make(directory, **changes), step)
    engine = resume(directory, **changes)
    assert engine.step == step
    engine.fit()
    return engine


@pytest.mark.parametrize("step", range(1, 40))
def test_resume_equals_uninterrupted_wherever_it_stops(tmp_path, uninterrupted, step):
    engine = stopped_and_resumed(tmp_path / "run", step)
    assert (digest(engine), losses(engine)) == uninterrupted


def test_a_second_stop_in_the_same_epoch_changes_nothing(tmp_path, uninterrupted):
    stop_after(make(tmp_path / "run"), 7)
    stop_after(resume(tmp_path / "run"), 19)
    stop_after(resume(tmp_path / "run"), 20)
    engine = resume(tmp_path / "run")
    engine.fit()
    assert (digest(engine), losses(engine)) == uninterrupted


def test_resuming_at_the_end_has_nothing_to_do(tmp_path, uninterrupted):
    make(tmp_path / "run").fit()
    engine = resume(tmp_path / "run")
    assert engine.step == 40
    assert digest(engine) == uninterrupted[0]


def test_another_number_of_workers_changes_nothing(tmp_path, uninterrupted):
    stop_after(make(tmp_path / "run", data=digits(workers=2)), 11)
    stop_after(resume(tmp_path / "run", data=digits(workers=0)), 23)
    engine = resume(tmp_path / "run", data=digits(workers=3))
    engine.fit()
    assert (digest(engine), losses(engine)) == uninterrupted


def test_accumulation_resumes_to_the_bit(tmp_path):
    whole = make(tmp_path / "whole", micro_batch_size=8)
    whole.fit()
    for step in (1, 14, 30):
        engine = stopped_and_resumed(tmp_path / f"run{step}", step, micro_batch_size=8)
        assert digest(engine) == digest(whole)


def test_bfloat16_resumes_to_the_bit(tmp_path):
    whole = make(tmp_path / "whole", precision="bf16")
    whole.fit()
    assert digest(stopped_and_resumed(tmp_path / "run", 17, precision="bf16")) == digest(whole)


def test_fp16_resumes_with_its_scale(tmp_path):
    whole = make(tmp_path / "whole", precision="fp16")
    whole.fit()
    assert digest(stopped_and_resumed(tmp_path / "run", 17, precision="fp16")) == digest(whole)


@pytest.mark.parametrize(
    "cadence",
    [
        {"evaluate_every": "1st"},
        {"evaluate_every": "7st", "log_every": "1st"},
        {"evaluate_every": "1000st", "log_every": "10st", "checkpoint_every": "1000st"},
        {"checkpoint_every": "1st", "log_every": "40st"},
    ],
)
def test_evaluating_logging_and_saving_more_or_less_often_changes_no_training_bit(tmp_path, uninterrupted, cadence):
    reference = make(tmp_path / "reference")
    reference.fit()
    engine = make(tmp_path / "run", **cadence)
    engine.fit()
    for name, tensor in reference.task.state_dict().items():
        assert torch.equal(tensor, engine.task.state_dict()[name]), name
    for name, tensor in reference.average.average.items():
        assert torch.equal(tensor, engine.average.average[name]), name


def test_two_runs_are_equal_and_two_seeds_differ(tmp_path, uninterrupted):
    again, other = make(tmp_path / "again"), make(tmp_path / "other", seed=1)
    again.fit()
    other.fit()
    assert digest(again) == uninterrupted[0] != digest(other)


EARLY = {"evaluate_every": "2st", "early_stopping": EarlyStoppingSettings(patience=2, min_delta=0.08)}


def test_early_stopping_stops_at_the_same_step_after_a_resume(tmp_path):
    changes = EARLY
    whole = make(tmp_path / "whole", **changes)
    whole.fit()
    assert 4 <= whole.step < 40
    engine = stopped_and_resumed(tmp_path / "run", whole.step - 3, **changes)
    assert engine.step == whole.step
    assert engine.tracker.state_dict() == whole.tracker.state_dict()


# --- Negative controls: each piece of state, dropped, is missed ---


def without_moments(engine, state):
    for optimizer in state["optimizers"].values():
        for moments in optimizer["moments"].values():
            moments["exp_avg"].zero_()


def without_step_counts(engine, state):
    for optimizer in state["optimizers"].values():
        for moments in optimizer["moments"].values():
            moments["step"].zero_()


def without_average(engine, state):
    state["average"] = None


def without_window(engine, state):
    state["window"]["sums"] = {name: value * 0 for name, value in state["window"]["sums"].items()}


@pytest.mark.parametrize("drop", [without_moments, without_step_counts, without_average, without_window])
def test_a_dropped_piece_of_state_is_noticed(tmp_path, uninterrupted, drop, monkeypatch):
    stop_after(make(tmp_path / "run"), 38)
    load = Engine.load

    def damaged(self, checkpoint):
        drop(self, checkpoint.state)
        load(self, checkpoint)

    monkeypatch.setattr(Engine, "load", damaged)
    engine = resume(tmp_path / "run")
    engine.fit()
    assert (digest(engine), losses(engine)) != uninterrupted


def test_a_forgotten_patience_is_noticed(tmp_path):
    whole = make(tmp_path / "whole", **EARLY)
    whole.fit()
    stop_after(make(tmp_path / "run", **EARLY), whole.step - 1)
    engine = resume(tmp_path / "run", **EARLY)
    engine.tracker.waited, engine.tracker.reference = 0, None
    engine.fit()
    assert engine.step > whole.step


def test_dropped_batch_norm_statistics_are_noticed(tmp_path, uninterrupted):
    stop_after(make(tmp_path / "run"), 38)
    engine = resume(tmp_path / "run")
    for module in engine.task.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.reset_running_stats()
    engine.fit()
    assert digest(engine) != uninterrupted[0]


def test_a_wrong_place_in_the_data_is_noticed(tmp_path, uninterrupted, monkeypatch):
    stop_after(make(tmp_path / "run"), 38)
    engine = resume(tmp_path / "run")
    original = engine._batches
    monkeypatch.setattr(engine, "_batches", lambda start: original(start + 1))
    engine.fit()
    assert digest(engine) != uninterrupted[0]


def test_unseeded_dropout_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(update, "seed_device", lambda seed: None)
    whole = make(tmp_path / "whole")
    whole.fit()
    assert digest(stopped_and_resumed(tmp_path / "run", 20)) != digest(whole)


def test_the_reference_run_has_all_that_could_be_forgotten():
    assert SETTINGS.ema is not None
    task = digits_task(digits().spec)
    kinds = {type(module).__name__ for module in task.modules()}
    assert {"Dropout", "BatchNorm1d"} <= kinds
