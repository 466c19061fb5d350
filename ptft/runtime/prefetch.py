"""Batches made ahead by threads, in order, and copied to the device on the way.

Threads suffice: making a batch is a few whole-batch tensor operations, or the decoding of pictures, and both release
the interpreter lock. Which thread makes a batch, or a piece of one, changes nothing, as a batch is a pure function of
the number of its step.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

Batch = dict[str, Any]
Ready = Callable[[], Batch]
"""Returns a batch once its tensors may be used."""


@dataclass(frozen=True)
class Pieces:
    """A batch that several threads make together, so that even the first one comes soon.

    Attributes:
        work: The pieces, done in any order, several at once.
        join: Returns the batch once all of them are done.
    """

    work: Sequence[Callable[[], object]]
    join: Callable[[], Batch]


Make = Callable[[int], Batch | Pieces]


def then(made: Batch | Pieces, finish: Callable[[Batch], Batch]) -> Batch | Pieces:
    """Return what finish(batch) returns for the batch that `made` is, or will be."""
    if isinstance(made, Pieces):
        return Pieces(made.work, lambda: finish(made.join()))
    return finish(made)


def prefetch(
    make: Make, start: int, num_workers: int, device: torch.device, *, stop: int | None = None, ahead: int | None = None
) -> Generator[Batch, None, None]:
    """Yield make(start), make(start + 1) ... in order, with their tensors on `device`.

    Threads start at the first batch and end when the iterator is exhausted, closed, collected or has raised. Each
    computes with one thread of torch's; how many the calling thread computes with stays as it is.

    Args:
        make: Returns the batch of a step, whole or in pieces; called from several threads at once when there are
            several workers.
        start: The first step.
        num_workers: Threads that work ahead; 0 makes each batch in the calling thread when it is asked for.
        device: Where the tensors must lie; to a CUDA device they go through pinned memory, while the device works.
        stop: The step after the last one; None: there is no end.
        ahead: Batches in work or waiting at any time; None: one in work and one ready for each thread.

    Raises:
        Exception: Whatever `make` raised, in the order of the steps, with a note that names the step.
    """
    steps = itertools.count(start) if stop is None else range(start, stop)
    if device.type == "cpu":
        return _made(make, steps, num_workers, ahead)
    copy = _pinned_copy(device) if device.type == "cuda" else _plain_copy(device)
    return _copied(lambda step: then(make(step), lambda batch: {"ready": copy(batch)}), steps, num_workers, ahead)


def _made(make: Make, steps: Iterable[int], num_workers: int, ahead: int | None) -> Generator[Batch, None, None]:
    return _inline(make, steps) if num_workers == 0 else _threaded(make, steps, num_workers, ahead or 2 * num_workers)


def _inline(make: Make, steps: Iterable[int]) -> Generator[Batch, None, None]:
    for step in steps:
        try:
            made = make(step)
            if isinstance(made, Pieces):
                for work in made.work:
                    work()
                made = made.join()
        except Exception as error:
            error.add_note(f"while making the batch of step {step}")
            raise
        yield made


def _threaded(make: Make, steps: Iterable[int], num_workers: int, ahead: int) -> Generator[Batch, None, None]:
    pool = _start_pool(num_workers)
    waiting: deque[tuple[int, _Assembly]] = deque()
    coming = iter(steps)
    try:
        while True:
            while len(waiting) < ahead and (step := next(coming, None)) is not None:
                waiting.append((step, _Assembly(pool)))
                pool.submit(waiting[-1][1].begin, make, step)
            if not waiting:
                return
            yield _outcome(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _outcome(step: int, assembly: "_Assembly") -> Batch:
    try:
        return assembly.batch.result()
    except Exception as error:
        error.add_note(f"while making the batch of step {step}")
        raise


class _Assembly:
    """A batch while threads of a pool make it: whole, or in pieces, of which the last one done joins them."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.batch: Future[Batch] = Future()
        self._pool = pool
        self._lock = threading.Lock()
        self._left = 0

    def begin(self, make: Make, step: int) -> None:
        """Make the batch, or hand its pieces to the pool."""
        try:
            made = make(step)
            if isinstance(made, Pieces) and made.work:
                self._left = len(made.work)
                for work in made.work:
                    self._pool.submit(self._do, work, made.join)
            else:
                self.batch.set_result(made.join() if isinstance(made, Pieces) else made)
        except BaseException as error:  # of any kind: the thread that waits must not wait for ever
            self._fail(error)

    def _do(self, work: Callable[[], object], join: Callable[[], Batch]) -> None:
        try:
            work()
            with self._lock:
                self._left -= 1
                last = self._left == 0
            if last:
                self.batch.set_result(join())
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Keep the first error; a piece that failed is never counted as done, so that no result follows."""
        with self._lock:
            if not self.batch.done():
                self.batch.set_exception(error)


def _start_pool(num_workers: int) -> ThreadPoolExecutor:
    """Start threads that each compute with one thread of torch's: several with several would fight for the cores.

    torch.set_num_threads works on the calling thread and on those that start later; these last get the number of the
    calling thread back once all workers have theirs.
    """
    own = torch.get_num_threads()
    started = threading.Barrier(num_workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # sets this thread up with the common number, which would otherwise come after ours
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="prefetch", initializer=begin)
    try:
        for _ in range(num_workers):  # none is idle before all have begun: each of these starts a thread
            pool.submit(int)
        started.wait()
    except BaseException:
        started.abort()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    finally:
        torch.set_num_threads(own)
    return pool


def _copied(make: Make, steps: Iterable[int], num_workers: int, ahead: int | None) -> Generator[Batch, None, None]:
    """Yield the batches whose copies `make` has started, each once its copy is done."""
    started = _made(make, steps, num_workers, ahead)
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
