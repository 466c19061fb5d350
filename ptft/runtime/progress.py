"""How far long work outside the training loop has come: a bar on a terminal, a plain line now and then in a pipe.

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
def progress(title: str, total: int | None, unit: str, done: int = 0) -> Iterator[Advance]:
    """Tell rate and time left while the block works on `total` things.

    Args:
        title: What is being done: `decoding pictures`.
        total: How many things there are; None: that is not known, and no time left is told.
        unit: What the things are called: `pictures`.
        done: How many of them were done before.
    """
    clock = _Clock(total, unit, done)
    if sys.stderr.isatty():
        with _bar(title, clock) as advance:
            yield advance
    else:
        yield _Lines(title, clock).advance


@contextlib.contextmanager
def _bar(title: str, clock: "_Clock") -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
        task = live.add_task(title, total=clock.total, completed=clock.done, told="")

        def advance(count: int) -> None:
            told = clock.advance(count)
            live.update(task, advance=count, told=told)

        yield advance


class _Lines:
    """Plain lines on standard error, one each `_PIPE_SECONDS`."""

    def __init__(self, title: str, clock: "_Clock") -> None:
        self._title = title
        self._clock = clock
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

    def __init__(self, total: int | None, unit: str, done: int) -> None:
        self.total = total
        self.done = self._before = done
        self._unit = unit
        self._begin = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, count: int) -> str:
        """Return things done, rate and time left, once `count` more are done."""
        with self._lock:
            self.done += count
            done = self.done
        rate = (done - self._before) / max(time.monotonic() - self._begin, 1e-6)
        if self.total is None:
            return f"{done:,}  {rate:,.0f} {self._unit}/s"
        left = round(max(self.total - done, 0) / rate) if rate else 0
        hours, minutes = left // 3600, left // 60 % 60
        clock = f"{hours}:{minutes:02}:{left % 60:02}" if hours else f"{minutes}:{left % 60:02}"
        return f"{done:,}/{self.total:,}  {rate:,.0f} {self._unit}/s  {clock} left"
