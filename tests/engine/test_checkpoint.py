"""Checkpoints under crashes, refusing disks and damaged files: a whole one is always there, damage is noticed."""

import errno
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from ptft.engine.checkpoint import CheckpointStore
from ptft.errors import CheckpointError
from ptft.runtime import files
from tests.engine.disk import FaultyDisk, Killed, PowerCut

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


# --- Damage ---


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory):
    store = store_at(tmp_path_factory.mktemp("damage") / "run" / "checkpoints")
    store.directory.parent.mkdir(exist_ok=True)
    save(store, 3, is_best=True)
    save(store, 6)
    return store


def damaged(store, file: Path, data: bytes | None):
    """Give a file other bytes (None: remove it), tell what loading says, and put everything back."""
    before = file.read_bytes() if file.exists() else None
    file.unlink() if data is None else file.write_bytes(data)
    warnings = []
    try:
        assert is_whole(store.load(6)) and False, f"damage of {file.name} went unnoticed"
    except CheckpointError:
        checkpoint = store.load_newest(warnings.append)
    finally:
        file.unlink(missing_ok=True)
        if before is not None:
            file.write_bytes(before)
    assert checkpoint.step == 3
    assert len(warnings) == 1
    return warnings[0]


def flip_bits(store, trials):
    generator = random.Random(0)
    names = sorted(path.name for path in store.path(6).iterdir())
    for trial in range(trials):
        file = store.path(6) / names[trial % len(names)]
        data = bytearray(file.read_bytes())
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        assert file.name in damaged(store, file, bytes(data))


def test_every_flipped_bit_is_noticed_and_its_file_named(two_saved):
    flip_bits(two_saved, 200)


@pytest.mark.slow
def test_every_one_of_many_flipped_bits_is_noticed(two_saved):
    flip_bits(two_saved, 4000)


def test_truncated_zeroed_empty_and_missing_files_are_noticed(two_saved):
    generator = random.Random(1)
    for file in sorted(two_saved.path(6).iterdir()):
        data = file.read_bytes()
        cuts = [generator.randrange(1, len(data)) for _ in range(15)]
        for wrong in [b"", None, data + b"\0", *(data[:cut] for cut in cuts)]:
            assert file.name in damaged(two_saved, file, wrong)
        for cut in cuts:
            if any(data[cut:]):
                assert file.name in damaged(two_saved, file, data[:cut] + bytes(len(data) - cut))


def test_extra_and_swapped_files_are_noticed(two_saved):
    assert "extra.safetensors" in damaged(two_saved, two_saved.path(6) / "extra.safetensors", b"{}")
    for file in sorted(two_saved.path(6).iterdir()):
        damaged(two_saved, file, (two_saved.path(3) / file.name).read_bytes())


def test_a_meaning_that_stays_but_bytes_that_differ_are_noticed(two_saved):
    file = two_saved.path(6) / "manifest.json"
    assert "manifest.json" in damaged(two_saved, file, file.read_bytes().replace(b"\n", b"\n "))


@pytest.mark.parametrize(
    "text",
    ["[]", "3", "null", "{}", '{"files": 3, "run": "0123456789abcdef", "step": 6}', "[" * 100_000, '"\ud800"',
     '{"files": [1], "run": "0123456789abcdef", "step": 6}', '{"files": {"state.json": 5}, "run": "x", "step": 6}',
     '{"files": {"state.json": {}}, "run": "0123456789abcdef", "step": 6}'],
)  # fmt: skip
def test_a_manifest_made_up_by_someone_is_refused(two_saved, text):
    data = text.encode(errors="surrogatepass")
    assert "manifest.json" in damaged(two_saved, two_saved.path(6) / "manifest.json", data)


def test_checkpoints_of_another_run_are_refused(tmp_path, two_saved):
    store = store_at(tmp_path / "checkpoints")
    save(store, 3)
    shutil.rmtree(store.path(3))
    other = CheckpointStore(store.directory, "another run", 2)
    shutil.copytree(two_saved.path(3), other.path(3))
    with pytest.raises(CheckpointError, match="belongs to run 0123456789abcdef, step 3"):
        other.load(3)
    shutil.copytree(two_saved.path(3), store.path(9))
    with pytest.raises(CheckpointError, match="expected run 0123456789abcdef, step 9"):
        store.load(9)


def test_where_no_checkpoint_is_intact_loading_fails(tmp_path):
    store = store_at(tmp_path / "checkpoints")
    save(store, 3)
    (store.path(3) / "state.json").unlink()
    warnings = []
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is intact"):
        store.load_newest(warnings.append)
    assert "state.json" in warnings[0]


def test_a_damaged_checkpoint_is_replaced_when_its_step_comes_again(tmp_path):
    store = store_at(tmp_path / "checkpoints")
    for step in (3, 6):
        save(store, step)
    (store.path(6) / "model.safetensors").write_bytes(b"")
    save(store, 6)
    assert newest(store).step == 6


def test_damaged_checkpoints_of_steps_not_reached_again_make_no_one_lose_a_good_one(tmp_path):
    store = store_at(tmp_path / "checkpoints")
    for step in (3, 6, 8):
        save(store, step)
    (store.path(8) / "model.safetensors").write_bytes(b"")
    save(store, 7)  # resumed from 6, now saved at other steps
    assert store.steps() == [6, 7]


def test_a_damaged_pointer_is_an_error_and_not_another_checkpoint(tmp_path):
    store = store_at(tmp_path / "checkpoints")
    save(store, 3, is_best=True)
    (store.directory / "best.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"best\.json is damaged"):
        store.load_named("best")


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
