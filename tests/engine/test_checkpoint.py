"""Checkpoints under crashes, refusing disks and damaged files: a whole one is always there, damage is noticed."""

import errno
import os
import random
import shutil

import pytest

from ptft.errors import CheckpointError
from ptft.runtime import files
from tests.engine.disk import FaultyDisk, Killed, PowerCut
from tests.engine.saved import (
    contents,
    is_whole,
    newest,
    no_waiting_for_the_disk,  # noqa: F401  it serves every test
    save,
    store_at,
)

HISTORIES = {"no checkpoint": [], "one checkpoint": [(3, True)], "retention full": [(3, True), (6, False), (9, False)]}
MOMENTS = ("before", "within", "after")


def each_fault(tmp_path, history, moments=MOMENTS):
    """Yield a fresh copy of a history, the step to save next, and a disk that dies at one call of that save."""
    base = store_at(tmp_path / "base" / "checkpoints")
    base.directory.parent.mkdir(exist_ok=True)
    for step, is_best in history:
        save(base, step, is_best)
    step = 12
    trial = tmp_path / "dry"
    shutil.copytree(base.directory.parent, trial)
    with FaultyDisk() as disk:
        save(store_at(trial / "checkpoints"), step, is_best=True)
    assert disk.count >= 12
    for call in range(disk.count):
        for moment in moments:
            directory = tmp_path / f"{call}{moment}"
            shutil.copytree(base.directory.parent, directory)
            yield store_at(directory / "checkpoints"), step, FaultyDisk(call, moment)
            shutil.rmtree(directory)


def check_after_crash(store, history, step):
    """What must be true whatever happened to a save."""
    old = [number for number, _ in history]
    checkpoint = newest(store)
    if checkpoint is None:
        assert not old
    else:
        assert is_whole(checkpoint)
        assert checkpoint.step in (*old[-1:], step)
    for name in ("last", "best"):
        if store.pointed(name) is not None:
            assert is_whole(store.load_named(name))
    assert not old or store.pointed("best") in (3, step)
    for number in store.steps():
        assert is_whole(store.load(number))
    save(store, step + 3)  # the resumed run goes on
    assert not list(store.directory.glob(".tmp-*"))
    assert newest(store).step == step + 3
    assert len(store.steps()) <= 4


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_a_save_killed_at_any_call_leaves_the_old_or_the_new_state(tmp_path, history):
    for store, step, disk in each_fault(tmp_path, history):
        child = os.fork()
        if child == 0:
            disk.die = lambda: os._exit(9)
            with disk:
                save(store, step, is_best=True)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        check_after_crash(store, history, step)


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_a_power_cut_at_any_call_leaves_the_old_or_the_new_state(tmp_path, history):
    for store, step, disk in each_fault(tmp_path, history, moments=("before", "after")):
        with PowerCut(disk):
            save(store, step, is_best=True)
        check_after_crash(store, history, step)


def test_a_saved_checkpoint_outlives_a_power_cut(tmp_path):
    store = store_at(tmp_path / "run" / "checkpoints")
    with PowerCut(FaultyDisk()) as cut:
        store.save(3, *contents(3))
        cut.lose()
    assert is_whole(store.load_named("last"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_a_disk_that_refuses_any_call_is_named_and_earlier_checkpoints_stay(tmp_path, history, number):
    refused = 0
    for store, step, disk in each_fault(tmp_path, history, moments=("before",)):
        disk.die = lambda: fail(number)
        with disk, pytest.raises(CheckpointError, match=str(store.directory)) as error:
            save(store, step, is_best=True)
        assert os.strerror(number) in str(error.value)
        check_after_crash(store, history, step)
        refused += 1
    assert refused >= 12


def fail(number):
    raise OSError(number, os.strerror(number))


def test_a_full_disk_is_told_before_writing(tmp_path, monkeypatch):
    store = store_at(tmp_path / "checkpoints")
    save(store, 3)
    monkeypatch.setattr(files, "free_bytes", lambda path: 100)
    with pytest.raises(CheckpointError, match=r"no room .* [\d,]+ bytes needed, 100 free"):
        save(store, 6)
    assert store.steps() == [3]
    assert is_whole(store.load_named("last"))


def test_a_deleted_run_stays_deleted(tmp_path):
    store = store_at(tmp_path / "run" / "checkpoints")
    store.directory.parent.mkdir(exist_ok=True)
    save(store, 3)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(CheckpointError, match="No such file"):
        save(store, 6)
    assert not (tmp_path / "run").exists()


# --- What is kept, and names ---


def test_the_newest_and_the_best_are_kept(tmp_path):
    generator = random.Random(0)
    for keep_last in (1, 2, 3):
        for trial in range(7):
            store = store_at(tmp_path / f"{keep_last}_{trial}", keep_last)
            best, best_step, saved = -1.0, 0, []
            for step in range(1, 11):
                value = round(generator.random(), 1)
                is_best = value > best
                if is_best:
                    best, best_step = value, step
                save(store, step, is_best)
                saved.append(step)
                assert store.steps() == sorted({*saved[-keep_last:], best_step})
                assert store.pointed("best") == best_step
                assert store.pointed("last") == step


def test_the_age_of_a_checkpoint_is_its_step_whatever_the_clock_says(tmp_path):
    store = store_at(tmp_path / "checkpoints", keep_last=3)
    for number, step in enumerate((3, 6, 9)):
        save(store, step)
        os.utime(store.path(step), (1e9 - number * 86400, 1e9 - number * 86400))
    assert newest(store).step == 9
    save(store, 100_000_000)
    assert store.steps() == [6, 9, 100_000_000]


def test_saving_what_was_loaded_gives_equal_bytes(tmp_path):
    first, second = store_at(tmp_path / "a"), store_at(tmp_path / "b")
    save(first, 3)
    checkpoint = first.load(3)
    second.save(3, checkpoint.tensors, checkpoint.state)
    for file in first.path(3).iterdir():
        assert file.read_bytes() == (second.path(3) / file.name).read_bytes()


def test_a_name_that_is_not_there_tells_those_that_are(tmp_path):
    store = store_at(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint `last`; steps there: none"):
        store.load_named("last")
    save(store, 3)
    with pytest.raises(CheckpointError, match="no checkpoint `7`; steps there: 3"):
        store.load_named("7")
    assert store.load_named("best").step == store.load_named("3").step == 3  # before the first evaluation: last


def test_leftovers_of_a_killed_save_do_not_stand_in_the_way(tmp_path):
    store = store_at(tmp_path / "checkpoints")
    with FaultyDisk(4, "after") as disk, pytest.raises(Killed):
        save(store, 3)
    assert disk.count == 5
    assert list(store.directory.glob(".tmp-*"))
    save(store, 3)
    assert sorted(path.name for path in store.directory.iterdir()) == ["last.json", "step_00000003"]
