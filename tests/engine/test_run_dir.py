"""A run directory is made once, held while in use, and keeps metrics that can always be read."""

import errno
import json
import os
import signal
import time

import pytest
import torch  # noqa: F401  loaded before forking

from ptft.command.running import open_run
from ptft.config.invocation import Invocation
from ptft.config.place import unused_name
from ptft.engine.run_dir import NameTakenError, RunDirectory
from ptft.errors import CheckpointError
from tests.engine.disk import FaultyDisk, Killed
from tests.engine.runs import config, create, in_child

# --- Making and holding ---


def test_a_taken_name_is_refused_with_what_can_be_done(tmp_path):
    with create(tmp_path / "run") as run:
        pass
    with pytest.raises(NameTakenError, match=r"resume=run.*another name=.*overwrite=true"):
        create(tmp_path / "run")
    with create(tmp_path / "run", overwrite=True) as other:
        assert other.id != run.id


def test_overwriting_leaves_nothing_of_the_old_run(tmp_path):
    with create(tmp_path / "run") as run:
        run.append_metrics({"step": 1})
        run.write_text("report/picture.txt", "old")
    with create(tmp_path / "run", overwrite=True) as new:
        new.settle()
        assert sorted(path.name for path in run.path.iterdir()) == [".lock", "config.yaml", "run.json"]


def test_what_is_no_run_is_never_overwritten(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    for overwrite, error in ((True, "is no run directory"), (False, "exists")):
        with pytest.raises(CheckpointError, match=error):
            create(tmp_path / "thesis", overwrite)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        for overwrite in (True, False):
            with pytest.raises(CheckpointError):
                create(path, overwrite)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_disk_that_refuses_fails_before_the_first_step_with_its_reason(tmp_path, number):
    with FaultyDisk() as disk, create(tmp_path / "dry"):
        pass

    def refuse():
        raise OSError(number, os.strerror(number))

    for call in range(disk.count):
        disk = FaultyDisk(call)
        disk.die = refuse
        with disk, pytest.raises(CheckpointError, match=os.strerror(number)) as error:
            create(tmp_path / f"{call}")
        assert str(tmp_path / f"{call}") in str(error.value)


def test_a_run_killed_while_it_is_made_can_be_started_again(tmp_path):
    with FaultyDisk() as disk, create(tmp_path / "dry"):
        pass
    for call in range(disk.count):
        for moment in ("before", "within", "after"):
            path = tmp_path / f"{call}{moment}"
            with FaultyDisk(call, moment), pytest.raises(Killed):
                create(path)
            if (path / "run.json").exists():
                assert (path / "config.yaml").read_text() == "a: 1\n"
                with RunDirectory.resume(path) as run:
                    assert run.record["status"] == "running"
            else:
                with create(path) as run:
                    assert run.record["status"] == "running"


def test_a_run_killed_while_it_is_overwritten_can_be_overwritten_again(tmp_path):
    for call in range(8):
        path = tmp_path / f"{call}"
        with create(path) as run:
            run.append_metrics({"step": 1})
        with FaultyDisk(call), pytest.raises(Killed):
            create(path, overwrite=True)
        with create(path, overwrite=True) as run:
            assert run.read_metrics() == []


def test_a_run_in_use_is_refused_and_names_its_process(tmp_path):
    with create(tmp_path / "run"):
        for again in (lambda: RunDirectory.resume(tmp_path / "run"), lambda: create(tmp_path / "run", True)):
            with pytest.raises(CheckpointError, match=f"in use by process {os.getpid()} on "):
                again()
        assert RunDirectory.reopen(tmp_path / "run").record["status"] == "running"  # reading is free
    with RunDirectory.resume(tmp_path / "run"):
        pass


def test_a_killed_process_lets_go_of_its_run(tmp_path):
    def hold():
        create(tmp_path / "run")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(hold) == -signal.SIGKILL
    with RunDirectory.resume(tmp_path / "run"):
        pass


def test_a_forked_worker_that_outlives_its_parent_holds_nothing(tmp_path):
    with create(tmp_path / "run"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    with RunDirectory.resume(tmp_path / "run"):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_forked_worker_that_outlives_its_killed_parent_holds_nothing(tmp_path):
    def hold_and_fork():
        create(tmp_path / "run")
        child = os.fork()
        if child == 0:
            (tmp_path / "worker").write_text(str(os.getpid()))
            time.sleep(30)
            os._exit(0)
        while not (tmp_path / "worker").exists() or not (tmp_path / "worker").read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(hold_and_fork) == -signal.SIGKILL
    with RunDirectory.resume(tmp_path / "run"):
        os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)


def test_of_many_processes_that_make_one_run_exactly_one_does(tmp_path):
    go = tmp_path / "go"

    def make(path):
        while not go.exists():
            pass
        create(path)
        time.sleep(0.3)

    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os._exit(in_child(lambda: make(tmp_path / "run")))
        children.append(child)
    go.touch()
    statuses = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert statuses == [0] + [1] * 7


def test_runs_with_names_made_in_the_same_second_are_all_distinct(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2030, 1, 1, 0, 0, 0, 1, 1, 0)))
    monkeypatch.setattr("ptft.config.place.secrets.token_hex", lambda size: "00ff")  # all draw the same digits first
    invocation = Invocation(verb="finetune", argv=("ptft", "finetune"))
    names = [unused_name("finetune", "digits") for _ in range(20)]
    assert set(names) == {"finetune-digits-20300101-000000-00ff"}
    monkeypatch.undo()
    runs = [open_run(config(tmp_path, name), invocation) for name in names]
    assert len({run.path for run in runs}) == len({run.id for run in runs}) == 20
    for run in runs:
        assert f"name: {run.path.name}\n" in (run.path / "config.yaml").read_text()
        assert run.record["name"] == run.path.name


def test_a_name_that_was_given_is_never_changed(tmp_path):
    name = "finetune-digits-20300101-000000-00ff"
    invocation = Invocation(verb="finetune", argv=("ptft", "finetune"), overrides=(f"name={name}",))
    with open_run(config(tmp_path, name), invocation), pytest.raises(NameTakenError):
        open_run(config(tmp_path, name), invocation)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"id": "x"}'])
def test_a_directory_without_a_readable_record_is_no_run(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    for way in (RunDirectory.reopen, RunDirectory.resume):
        with pytest.raises(CheckpointError, match=r"is no run directory"):
            way(tmp_path)
    assert not (tmp_path / ".lock").exists()


# --- Metrics ---


def test_metrics_are_cut_to_the_step_of_the_checkpoint(tmp_path):
    with create(tmp_path / "run") as run:
        for step in (4, 8, 10, 12):
            run.append_metrics({"step": step, "train/loss": 0.1 * step})
        run.truncate_metrics(10)
        assert [row["step"] for row in run.read_metrics()] == [4, 8, 10]
        assert run.read_metrics()[2]["train/loss"] == 0.1 * 10  # to the bit
        run.truncate_metrics(-1)  # there is no checkpoint yet
        assert run.read_metrics() == []


@pytest.mark.parametrize("tail", ['{"step": 1', '{"step": 12, "train/loss": 0.', "\0" * 40, "{"])
def test_a_last_line_cut_short_by_a_crash_is_dropped(tmp_path, tail):
    with create(tmp_path / "run") as run:
        run.append_metrics({"step": 4})
        run.append_metrics({"step": 8})
        with (run.path / "metrics.jsonl").open("a") as file:
            file.write(tail)
        run.truncate_metrics(8)
        run.append_metrics({"step": 12})
        assert [json.loads(line)["step"] for line in (run.path / "metrics.jsonl").open()] == [4, 8, 12]


def test_metrics_stay_valid_json_when_a_value_is_not_finite(tmp_path):
    with create(tmp_path / "run") as run:
        run.append_metrics({"step": 4, "a": float("nan"), "b": float("inf"), "c": float("-inf"), "d": 1.5})
        assert run.read_metrics() == [{"step": 4, "a": None, "b": None, "c": None, "d": 1.5}]
