"""What is shown while a sweep runs: a small table in a terminal, a line a trial in a pipe."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from ptft.engine.console import Console
from ptft.sweep.board import Board
from ptft.sweep.report import SweepFacts
from ptft.sweep.trial import Trial

FACTS = SweepFacts(
    name="night", verb="finetune", method="asha", objectives=[("val/accuracy", "max")], shares=(1 / 3, 1.0), total=10,
    seeds=1, base=[], folder=Path("outputs/night"),
)  # fmt: skip


@pytest.fixture
def board():
    def make(*, terminal):
        rich = RichConsole(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
        return Board(FACTS, Console(rich), parallel=2)

    return make


def trials(*states):
    found = [
        Trial(number=number, point=number, seed=0, params={"optimizer.lr": f"0.{number}"}, state=state, attempts=1)
        for number, state in enumerate(states)
    ]
    for trial in found:
        if trial.state == "done":
            trial.values, trial.seconds = {0: (0.5 + trial.number / 100,)}, 60.0
        if trial.state == "failed":
            trial.reason = "killed by SIGKILL"
    return found


def said(board):
    return board.console.rich.file.getvalue()


def test_in_a_pipe_each_trial_that_ends_is_told_once(board):
    shown = board(terminal=False)
    for states in (("running", "running"), ("done", "running"), ("done", "running"), ("done", "failed", "running")):
        shown.update(trials(*states), 0.0)
    shown.close()
    assert said(shown).splitlines() == [
        "trial 0 done at 33%: val/accuracy 0.5000 (lr=0.0); 1 of 10, best 0.5000 (trial 0)",
        "trial 1 failed: killed by SIGKILL (lr=0.1); 2 of 10, best 0.5000 (trial 0)",
    ]


def test_what_was_done_before_a_sweep_went_on_is_not_told_again(board):
    shown = board(terminal=False)
    shown.update(trials("done", "done", "running"), 0.0)
    assert said(shown) == ""


def test_in_a_terminal_a_small_table_tells_what_runs_and_what_is_left(board):
    shown = board(terminal=True)
    shown.update(trials("running", "running"), 0.0)
    shown.update(trials("done", "failed", "running", "running"), 30.0)
    rich = RichConsole(file=io.StringIO(), width=80, color_system=None)
    rich.print(shown.table(trials("done", "failed", "running", "running"), 42.0))
    lines = rich.file.getvalue().splitlines()
    assert len(lines) <= 12 and max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "night: best 0.5000 by trial 0" in text and "killed by SIGKILL" in text
    assert "1 done, 1 failed, 2 running, 6 to go; about 4 min left" in text
    running = next(line for line in lines if line.split()[:1] == ["2"])
    assert running.split() == ["2", "running", "33%", "12", "lr=0.2"], "what runs shows its seconds so far"
    shown.close()
    shown.close()


def test_however_many_run_the_table_is_a_dozen_lines(board):
    shown = board(terminal=True)
    states = ["running"] * 30
    shown.update(trials(*states), 0.0)
    states[:8] = ["done"] * 8
    shown.update(trials(*states), 1.0)
    rich = RichConsole(file=io.StringIO(), width=80, color_system=None)
    rich.print(shown.table(trials(*states), 1.0))
    lines = rich.file.getvalue().splitlines()
    assert len(lines) == 12 and "8 done, 0 failed, 22 running" in lines[-1]
    shown.close()


def test_a_narrow_terminal_gets_a_narrow_table(board):
    shown = board(terminal=True)
    shown.console.rich.width = 50
    shown.update(trials("done", "running"), 0.0)
    assert shown.table(trials("done", "running"), 1.0).width == 50
    shown.close()


def test_the_last_trial_takes_as_long_as_one_however_many_could_run(board):
    shown = board(terminal=True)
    shown.facts, shown.parallel = dataclasses.replace(FACTS, total=2), 8
    shown.update(trials("done", "running"), 0.0)
    assert shown.table(trials("done", "running"), 1.0).caption.plain.endswith("0 to go; about 60 s left")
    shown.close()


def test_a_trial_that_is_run_again_and_fails_again_is_told_again(board):
    shown = board(terminal=False)
    for states in (("running",), ("failed",), ("running",), ("failed",)):
        shown.update(trials(*states), 0.0)
    assert len(said(shown).splitlines()) == 2


def test_a_long_list_of_settings_is_cut_to_the_width(board):
    shown = board(terminal=True)
    many = trials("running")
    many[0].params = {f"model.setting_{number}": "x" * 10 for number in range(9)}
    rich = RichConsole(file=io.StringIO(), width=80, color_system=None)
    shown.update(many, 0.0)
    rich.print(shown.table(many, 1.0))
    assert max(map(len, rich.file.getvalue().splitlines())) <= 80
    shown.close()
