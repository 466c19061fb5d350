"""Batches made ahead: in order, errors in their place, no thread left."""

import contextlib
import gc
import itertools
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from ptft.runtime.prefetch import Pieces, prefetch, then

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


# ---- Batches in pieces


def in_pieces(count=3, seen=None, fail_at=None):
    """Return a `make` whose batches are made in so many pieces."""

    def make_pieces(step):
        parts = torch.zeros(count, dtype=torch.int64)

        def work(place):
            if seen is not None:
                seen.append((step, place, threading.current_thread().name))
            if (step, place) == fail_at:
                raise ValueError("bad piece")
            parts[place] = step * 10 + place

        return Pieces([partial(work, place) for place in range(count)], lambda: {"parts": parts})

    return make_pieces


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_pieces_make_up_their_batch_in_order(count, num_workers):
    batches = prefetch(in_pieces(count), 2, num_workers, CPU)
    for step in range(2, 12):
        assert next(batches)["parts"].tolist() == [step * 10 + place for place in range(count)]
    batches.close()
    assert not threads()


def test_the_pieces_of_one_batch_are_shared_by_the_threads():
    meeting = threading.Barrier(3)

    def make_pieces(step):
        return Pieces([lambda: meeting.wait(timeout=30)] * 3, lambda: {"step": step})

    assert [batch["step"] for batch in prefetch(make_pieces, 0, 3, CPU, stop=4)] == [0, 1, 2, 3]


def test_what_follows_a_batch_follows_its_pieces_too():
    doubled = lambda batch: {"parts": batch["parts"] * 2}  # noqa: E731
    batches = prefetch(lambda step: then(in_pieces()(step), doubled), 1, 2, CPU)
    assert next(batches)["parts"].tolist() == [20, 22, 24]
    batches.close()
    assert then({"parts": 4}, doubled) == {"parts": 8}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_in_a_piece_comes_after_the_batches_before_it_and_names_its_step(num_workers):
    batches = prefetch(in_pieces(fail_at=(2, 1)), 0, num_workers, CPU)
    assert [int(next(batches)["parts"][0]) for _ in range(2)] == [0, 10]
    with pytest.raises(ValueError, match="bad piece") as caught:
        next(batches)
    assert caught.value.__notes__ == ["while making the batch of step 2"]
    assert not threads()


def test_pieces_not_begun_are_dropped_when_the_stream_is_closed():
    seen = []

    def make_pieces(step):
        return Pieces([lambda: seen.append(step) or time.sleep(0.02)] * 100, lambda: {})

    batches = prefetch(make_pieces, 0, 2, CPU, ahead=3)
    with pytest.raises(KeyboardInterrupt), interrupted_after(0.1):
        next(batches)
    del batches
    gc.collect()
    assert not threads() and len(seen) < 90


@contextlib.contextmanager
def interrupted_after(seconds):
    """Press Ctrl-C while the block waits."""
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- Ends, bounds, threads of torch's own


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_stream_with_an_end_makes_no_batch_beyond_it(num_workers, device):
    made = []
    batches = prefetch(lambda step: made.append(step) or {}, 3, num_workers, torch.device(device), stop=6)
    assert len(list(batches)) == 3 and sorted(made) == [3, 4, 5]
    assert not threads()


@pytest.mark.parametrize("ahead", [1, 4])
def test_no_more_batches_are_made_ahead_than_asked(ahead):
    made = []
    batches = prefetch(lambda step: made.append(step) or {}, 0, 2, CPU, ahead=ahead)
    next(batches)
    time.sleep(0.05)
    assert len(made) <= ahead
    next(batches)
    time.sleep(0.05)
    assert len(made) <= ahead + 1
    batches.close()


def test_each_worker_computes_with_one_thread_and_the_calling_thread_with_as_many_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        batches = prefetch(lambda step: {"threads": torch.get_num_threads()}, 0, 4, CPU)
        assert [next(batches)["threads"] for _ in range(20)] == [1] * 20
        assert torch.get_num_threads() == 3
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        batches.close()
        assert later == [3] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


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
