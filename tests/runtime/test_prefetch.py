"""Batches made ahead: in order, errors in their place, no thread left."""

import gc
import itertools
import threading
import time
from pathlib import Path

import pytest
import torch

from ptft.runtime.prefetch import prefetch

CPU = torch.device("cpu")


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def make(step):
    time.sleep(0.002 * (step % 3))  # batches are ready in another order than they are wanted
    return {"step": torch.tensor(step)}


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_batches_come_in_order_from_the_start_step_on(num_workers):
    batches = prefetch(make, 5, num_workers, CPU)
    assert [int(batch["step"]) for batch in itertools.islice(batches, 20)] == list(range(5, 25))
    batches.close()
    assert not threads()


def test_without_workers_nothing_is_made_ahead():
    made = []
    batches = prefetch(lambda step: made.append(step) or {}, 0, 0, CPU)
    next(batches)
    next(batches)
    assert made == [0, 1]


def test_workers_make_batches_ahead_but_not_without_bound():
    made = []
    batches = prefetch(lambda step: made.append(step) or {}, 0, 2, CPU)
    next(batches)
    time.sleep(0.05)
    assert 3 <= len(made) <= 5
    batches.close()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_comes_after_the_batches_before_it_and_names_its_step(num_workers):
    def failing(step):
        if step >= 3:
            raise ValueError("bad pixel")
        return make(step)

    batches = prefetch(failing, 0, num_workers, CPU)
    assert [int(next(batches)["step"]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="bad pixel") as caught:
        next(batches)
    assert caught.value.__notes__ == ["while making the batch of step 3"]
    assert not threads()


def test_threads_end_when_the_iterator_is_collected():
    batches = prefetch(make, 0, 2, CPU)
    next(batches)
    assert threads()
    del batches
    gc.collect()
    assert not threads()


def test_no_thread_starts_before_the_first_batch_is_asked_for():
    batches = prefetch(make, 0, 2, CPU)
    assert not threads()
    batches.close()


def test_many_iterators_leave_nothing_behind():
    before = threading.active_count(), len(list(Path("/proc/self/fd").glob("*")))
    for _ in range(100):
        next(prefetch(make, 0, 2, CPU))
    gc.collect()
    assert (threading.active_count(), len(list(Path("/proc/self/fd").glob("*")))) == before


def test_batches_reach_another_device():
    batches = prefetch(make, 0, 2, torch.device("meta"))
    assert next(batches)["step"].device.type == "meta"
    batches.close()
    assert not threads()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_reach_a_cuda_device_unharmed(num_workers):
    def large(step):
        return {"x": torch.full((1 << 20,), step), "name": "kept"}

    batches = prefetch(large, 0, num_workers, torch.device("cuda"))
    for step, batch in enumerate(itertools.islice(batches, 30)):
        torch.cuda._sleep(1_000_000)  # the device is behind: memory must not be given away under it
        assert batch["name"] == "kept" and bool((batch["x"] == step).all())
    batches.close()
    assert not threads()
