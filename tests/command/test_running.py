"""How a run ends is recorded, a refused one is withdrawn, a resumed one keeps its identity."""

import errno
import json
import os
import signal
import time

import pytest
import torch  # noqa: F401  loaded before forking

from ptft.command import training
from ptft.command.running import open_run, recorded
from ptft.config.invocation import Invocation
from ptft.engine.run_dir import RunDirectory
from ptft.errors import CheckpointError, GateError, Interrupted, PtftError
from ptft.runtime import files
from ptft.sweep.trial import Measured
from tests.engine.reference import Quiet
from tests.engine.runs import config, create, in_child


def ending(run, error=None):
    """End a recorded block and return the record and what was raised."""
    console = Quiet()
    raised = None
    try:
        with recorded(run, console, "ptft finetune resume=run"):
            if error is not None:
                raise error
    except BaseException as caught:
        raised = caught
    return json.loads((run.path / "run.json").read_bytes()), raised


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (None, "done", 0),
        (GateError("too low"), "done", 3),
        (Interrupted("stopped by SIGTERM", 143), "interrupted", 143),
        (Interrupted("stopped by SIGINT", 130), "interrupted", 130),
        (KeyboardInterrupt(), "interrupted", 130),
        (CheckpointError("no room"), "failed", 1),
        (ZeroDivisionError("a bug"), "failed", 1),
    ],
)
def test_every_ending_is_recorded(tmp_path, error, status, code):
    with create(tmp_path / "run") as run:
        record, raised = ending(run, error)
        assert (record["status"], record["exit_code"]) == (status, code)
        assert record["ended"] is not None
        assert type(raised) is type(error)
        assert not isinstance(error, PtftError) or str(error) in record["error"]
        if isinstance(error, ZeroDivisionError):
            assert "Traceback" in record["error"]
        if isinstance(error, Interrupted):
            assert "go on with: ptft finetune resume=run" in str(raised)


def test_a_withdrawn_run_leaves_nothing(tmp_path):
    with create(tmp_path / "run") as run:
        run.log("hello")
        run.withdraw()
    assert not list(tmp_path.iterdir())


def test_a_withdrawn_run_gives_back_what_it_was_to_replace(tmp_path):
    with create(tmp_path / "run") as old:
        old.write_text("report/picture.txt", "old")
    with create(tmp_path / "run", overwrite=True) as new:
        new.write_text("report/picture.txt", "new")
        new.withdraw()
    assert RunDirectory.reopen(tmp_path / "run").id == old.id
    assert (tmp_path / "run/report/picture.txt").read_text() == "old"
    assert not (tmp_path / "run/.replaced").exists()


def test_a_process_killed_while_it_replaces_a_run_is_cleared_away_by_the_next(tmp_path):
    create(tmp_path / "run").__exit__()
    create(tmp_path / "run", overwrite=True).__exit__()  # killed before it began
    assert (tmp_path / "run/.replaced/run.json").is_file()
    with create(tmp_path / "run", overwrite=True) as run:
        run.settle()
    assert not (tmp_path / "run/.replaced").exists()


def test_a_file_in_the_place_of_the_output_folder_is_told(tmp_path):
    (tmp_path / "outputs").write_text("no folder")
    with pytest.raises(CheckpointError, match="outputs is no folder"):
        create(tmp_path / "outputs/run")


@pytest.mark.parametrize("line", ["[]", "{}", "3", "\xff", '{"step": "x"}'])
def test_damaged_lines_of_metrics_end_what_is_read(tmp_path, line):
    with create(tmp_path / "run") as run:
        run.append_metrics({"step": 1})
        with (run.path / "metrics.jsonl").open("a", encoding="latin-1") as file:
            file.write(f"{line}\n")
        assert run.read_metrics() == [{"step": 1}]


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"id": 1, "name": 2}'])
def test_a_run_json_that_lacks_what_later_commands_need_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json cannot be read"):
        RunDirectory.reopen(tmp_path)


@pytest.mark.parametrize("error", [CheckpointError("no room"), Interrupted("stopped", 143), KeyboardInterrupt()])
def test_a_full_disk_does_not_hide_why_a_run_ended(tmp_path, monkeypatch, error):
    with create(tmp_path / "run") as run:

        def full(*arguments):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files, "write", full)
        monkeypatch.setattr(files, "append", full)
        _, raised = ending(run, error)
        assert type(raised) is type(error)
        assert str(error) in str(raised)
        with pytest.raises(CheckpointError, match=r"cannot write .*metrics\.jsonl: No space left on device"):
            run.append_metrics({"step": 1})


def test_sigterm_before_the_first_step_is_recorded(tmp_path):
    def wait_for_it():
        with create(tmp_path / "run") as run:
            try:
                with recorded(run, Quiet()):
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(10)
            except Interrupted as error:
                os._exit(error.exit_code)

    assert in_child(wait_for_it) == 143
    record = RunDirectory.reopen(tmp_path / "run").record
    assert (record["status"], record["exit_code"]) == ("interrupted", 143)


def test_a_resumed_run_is_running_again_and_keeps_its_identity(tmp_path):
    invocation = Invocation(verb="finetune", argv=("ptft", "finetune"))
    with open_run(config(tmp_path, "run"), invocation) as run:
        ending(run, Interrupted("stopped", 143))
    again = Invocation(verb="finetune", argv=("ptft", "finetune", "resume=run"), resume=run.path)
    with open_run(config(tmp_path, "run"), again) as resumed:
        assert resumed.id == run.id
        record = RunDirectory.reopen(run.path).record
    assert [record[key] for key in ("status", "exit_code", "error", "ended")] == ["running", None, None, None]
    assert record["resumed"] == [["ptft", "finetune", "resume=run"]]


def test_a_gate_is_checked_again_when_a_finished_run_is_resumed(tmp_path):
    invocation = Invocation(verb="finetune", argv=("ptft", "finetune"))
    with open_run(config(tmp_path, "run"), invocation) as run:
        run.write_json(
            "summary.json",
            {
                "steps": 40,
                "objective": {"name": "val/accuracy", "mode": "max", "value": 0.5},
                "metrics": {"test/accuracy": {"value": 0.5}},
            },
        )
        run.finish("done", 0)
    again = Invocation(verb="finetune", argv=("ptft", "finetune"), resume=run.path)
    assert training.train({**config(tmp_path, "run"), "gate": None}, again) == [Measured("val/accuracy", "max", 0.5)]
    with pytest.raises(GateError, match=r"0\.5000"):
        training.train({**config(tmp_path, "run"), "gate": {"metric": "test/accuracy", "min": 0.9}}, again)
