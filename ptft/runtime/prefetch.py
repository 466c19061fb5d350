"""Batches made ahead by threads, in order, and copied to the device on the way.

Threads suffice: making a batch is a few whole-batch tensor operations, which release the interpreter lock. Which thread
makes a batch changes nothing, as a batch is a pure function of the number of its step.
"""

import itertools
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

Batch = dict[str, Any]
Make = Callable[[int], Batch]
Ready = Callable[[], Batch]
"""Returns a batch once its tensors may be used."""


def prefetch(make: Make, start: int, num_workers: int, device: torch.device) -> Generator[Batch, None, None]:
    """Yield make(start), make(start + 1) ... without end, in order, with their tensors on `device`.

    Threads start at the first batch and end when the iterator is closed, collected or has raised.

    Args:
        make: Returns the batch of a step; called from several threads at once when there are several workers.
        start: The first step.
        num_workers: Threads that work ahead; 0 makes each batch in the calling thread when it is asked for.
        device: Where the tensors must lie; to a CUDA device they go through pinned memory, while the device works.

    Raises:
        Exception: Whatever `make` raised, in the order of the steps, with a note that names the step.
    """
    if device.type == "cpu":
        return _inline(make, start) if num_workers == 0 else _threaded(make, start, num_workers)
    copy = _pinned_copy(device) if device.type == "cuda" else _plain_copy(device)
    return _copied(lambda step: {"ready": copy(make(step))}, start, num_workers)


def _inline(make: Make, start: int) -> Generator[Batch, None, None]:
    for step in itertools.count(start):
        try:
            batch = make(step)
        except Exception as error:
            error.add_note(f"while making the batch of step {step}")
            raise
        yield batch


def _threaded(make: Make, start: int, num_workers: int) -> Generator[Batch, None, None]:
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="prefetch")
    waiting: deque[Future[Batch]] = deque()
    steps = itertools.count(start)
    try:
        for step in itertools.count(start):
            while len(waiting) < 2 * num_workers:  # one in work and one ready for each thread
                waiting.append(pool.submit(make, next(steps)))
            try:
                batch = waiting.popleft().result()
            except Exception as error:
                error.add_note(f"while making the batch of step {step}")
                raise
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _copied(make: Make, start: int, num_workers: int) -> Generator[Batch, None, None]:
    """Yield the batches whose copies `make` has started, each once its copy is done."""
    started = _inline(make, start) if num_workers == 0 else _threaded(make, start, num_workers)
    try:
        for batch in started:
            yield batch["ready"]()
    finally:
        started.close()


def _plain_copy(device: torch.device) -> Callable[[Batch], Ready]:
    def copy(batch: Batch) -> Ready:
        moved = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
        return lambda: moved

    return copy


def _pinned_copy(device: torch.device) -> Callable[[Batch], Ready]:
    """Return a function that starts the copy of a batch on a stream of its own and returns how to wait for it."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def copy(batch: Batch) -> Ready:
        moved, copied = dict(batch), []
        with torch.cuda.stream(side):
            for name, value in batch.items():
                if isinstance(value, torch.Tensor) and value.device != device:
                    moved[name] = value.pin_memory().to(device, non_blocking=True)
                    copied.append(moved[name])
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(side)

        def ready() -> Batch:
            current = torch.cuda.current_stream(device)
            current.wait_event(done)
            for value in copied:
                value.record_stream(current)  # so that its memory is not given away while this stream uses it
            return moved

        return ready

    return copy
