"""Every damage to a checkpoint is noticed, its file is named, and the good one before it is taken."""

import random
import shutil
from pathlib import Path

import pytest

from ptft.engine.checkpoint import CheckpointStore
from ptft.errors import CheckpointError
from tests.engine.saved import (
    is_whole,
    newest,
    no_waiting_for_the_disk,  # noqa: F401  it serves every test
    save,
    store_at,
)


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
