"""Work on many small things in several threads: for what waits for a disk, or lets go of the interpreter lock."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_AT_ONCE = 64
"""Items a thread takes at once: handing over one costs more than many of the things done."""


def cores() -> int:
    """Return how many cores this process may use."""
    # Not every system tells which of its cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], threads: int, *, at_once: int = _AT_ONCE
) -> Iterator[Result]:
    """Yield function(item) for each item, in order; few results wait at a time.

    Args:
        function: What to do with an item, in several threads at once.
        items: The items.
        threads: How many threads.
        at_once: Items that a thread takes at once.

    Raises:
        Exception: Whatever `function` raised first, in the order of the items.
    """

    def several(start: int) -> list[Result]:
        return [function(item) for item in items[start : start + at_once]]

    starts = iter(range(0, len(items), at_once))
    waiting: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="map")
    try:
        while True:
            while len(waiting) < 2 * threads and (start := next(starts, None)) is not None:
                waiting.append(pool.submit(several, start))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
