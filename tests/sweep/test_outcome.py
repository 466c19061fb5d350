"""How a trial ended is written by who ran it and read by the sweep."""

import pytest
import torch

from ptft.errors import ConfigError, DataError, DivergedError, GateError
from ptft.sweep.outcome import done, failed, forget_outcome, read_outcome
from ptft.sweep.trial import Measured


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    outcome = done([Measured("val/accuracy", "max", 0.5), Measured("val/loss", "min", 1.25)])
    outcome.write(tmp_path / "7")
    assert read_outcome(tmp_path / "7") == outcome
    forget_outcome(tmp_path / "7")
    assert read_outcome(tmp_path / "7") is None
    forget_outcome(tmp_path / "7")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "done"}', '{"measured": [], "colour": 1}'])
def test_what_cannot_be_read_tells_nothing(tmp_path, text):
    (tmp_path / "trial.json").write_text(text)
    assert read_outcome(tmp_path) is None


def raised(action):
    try:
        action()
    except Exception as error:
        return failed(error)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DivergedError("the loss is nan"), "non-finite loss"),
        (GateError("too low"), "gate not met"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory"),
        (ConfigError("no such key"), "refused"),
        (DataError("photos/ is empty\nlook there"), "photos/ is empty"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_reason_is_a_few_words(error, reason):
    assert failed(error).reason == reason


def test_memory_that_torch_cannot_get_is_told_as_such():
    assert raised(lambda: torch.empty(10**15)).reason == "out of memory"


def test_a_users_mistake_is_told_without_a_traceback_and_a_bug_with_one():
    assert raised(lambda: (_ for _ in ()).throw(DataError("photos/ is empty"))).error == "photos/ is empty"
    assert "Traceback" in raised(lambda: 1 / 0).error and "ZeroDivisionError" in raised(lambda: 1 / 0).error
