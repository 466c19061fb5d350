"""How far a long piece of work before a run has come: a bar on a terminal, a plain line now and then in a pipe.

It is told on standard error, as standard output is for what a command found.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

_PIPE_SECONDS = 10.0
"""Least time between two plain lines."""
Advance = Callable[[int], None]
"""Notes that so many more are done; may be called from any thread."""


@contextlib.contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Tell rate and time left while the block works on `total` things.

    Args:
        title: What is being done: `decoding pictures`.
        total: How many things there are.
        unit: What the things are called: `pictures`.
    """
    if sys.stderr.isatty():
        with _bar(title, total, unit) as advance:
            yield advance
    else:
        yield _Lines(title, total, unit).advance


@contextlib.contextmanager
def _bar(title: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    clock = _Clock(total, unit)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
        task = live.add_task(title, total=total, told="")

        def advance(count: int) -> None:
            told = clock.advance(count)
            live.update(task, advance=count, told=told)

        yield advance


class _Lines:
    """Plain lines on standard error, one each `_PIPE_SECONDS`."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title = title
        self._clock = _Clock(total, unit)
        self._lock = threading.Lock()
        self._told = time.monotonic()

    def advance(self, count: int) -> None:
        """Note that `count` more are done; print a line if one is due."""
        told = self._clock.advance(count)
        with self._lock:
            now = time.monotonic()
            due = now - self._told >= _PIPE_SECONDS
            if due:
                self._told = now
        if due:
            print(f"{self._title}: {told}", file=sys.stderr, flush=True)


class _Clock:
    """Counts what is done and says in words how far that is."""

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._done = 0
        self._begin = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, count: int) -> str:
        """Return things done, rate and time left, once `count` more are done."""
        with self._lock:
            self._done += count
            done = self._done
        seconds = max(time.monotonic() - self._begin, 1e-6)
        left = round((self._total - done) * seconds / done) if done else 0
        hours, minutes = left // 3600, left // 60 % 60
        clock = f"{hours}:{minutes:02}:{left % 60:02}" if hours else f"{minutes}:{left % 60:02}"
        return f"{done:,}/{self._total:,}  {done / seconds:,.0f} {self._unit}/s  {clock} left"
