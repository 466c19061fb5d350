"""What a person sees while a run goes on: a live progress line on a terminal, plain lines in a pipe and in log.txt."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from ptft.runtime.text import one_line, printable, shortened

_PIPE_SECONDS = 10.0
"""Least time between two plain progress lines in a pipe."""
_LONGEST = 60
"""Columns that one cell of a table takes at most."""
_REFRESH_SECONDS = 0.25
"""Time between two drawings of the progress line; each costs as much as ten small steps."""


class _Screen(RichConsole):
    """Standard output; when its reader goes away (`ptft finetune | head`), the run goes on."""

    def on_broken_pipe(self) -> None:
        """Print nothing from now on; rich would end the process with the run still called running."""
        self.quiet = True
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, sys.stdout.fileno())
        os.close(silence)


class Console:
    """Prints to standard output, and to the run's log once there is one."""

    def __init__(self, rich: RichConsole | None = None) -> None:
        self.rich = rich or _Screen(highlight=False)
        # A terminal wraps between words; in a pipe a line stays one line.
        self.rich.soft_wrap = not self.rich.is_terminal
        self.log: Callable[[str], None] = _nowhere

    def say(self, text: str) -> None:
        """Print a line; brackets in it are no markup."""
        text = printable(text)
        self.rich.print(escape(text))
        self.log(text)

    def warn(self, text: str) -> None:
        """Print a warning."""
        text = printable(text)
        self.rich.print(f"[yellow]warning:[/yellow] {escape(text)}")
        self.log(f"warning: {text}")

    def draw(self, text: Text) -> None:
        """Print a text that has styles of its own, each line as it is; the log gets it plain."""
        self.rich.print(text, soft_wrap=True)
        for line in text.plain.splitlines():
            self.log(line)

    def table(self, title: str, rows: list[dict[str, Any]]) -> None:
        """Print rows as a table; numbers stand to the right."""
        if not rows:
            return
        table = Table()
        for name, value in rows[0].items():
            table.add_column(_text(name), justify="left" if isinstance(value, str) else "right")
        for row in rows:
            table.add_row(*(_text(_cell(value)) for value in row.values()))
        self.rich.print(f"[bold]{escape(one_line(title))}[/bold]")
        self.rich.print(table)
        for row in rows:
            self.log(one_line("  ".join(f"{name} {format_value(value)}" for name, value in row.items())))

    @contextlib.contextmanager
    def progress(self, start: int, total: int, batch_size: int) -> Iterator["ProgressLine"]:
        """Show the progress of a training while the block runs."""
        line = ProgressLine(self, start, total, batch_size)
        with line:
            yield line


class ProgressLine:
    """The progress of one training: rate, loss, metrics, time left."""

    def __init__(self, console: Console, start: int, total: int, batch_size: int) -> None:
        self._console = console
        self._total = total
        self._batch_size = batch_size
        self._first = self._mark_step = start
        self._mark_time = self._looked = time.monotonic()
        self._shown: dict[str, str] = {}
        self._rate = 0.0
        self._live: Progress | None = None
        if console.rich.is_terminal:
            self._live = Progress(
                BarColumn(bar_width=12),
                # One column, so that a narrow terminal cuts off the end and not the middle.
                TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
                console=console.rich,
                transient=True,
                refresh_per_second=1 / _REFRESH_SECONDS,
            )
            self._bar = self._live.add_task("", total=total, completed=start)

    def __enter__(self) -> "ProgressLine":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def advance(self, step: int) -> None:
        """Note that `step` steps are done; looks at the clock and seldom does more."""
        now = time.monotonic()
        if now - self._looked < _REFRESH_SECONDS:
            return
        self._looked = now
        if self._live is not None:
            self._measure(step, now, 1.0)
            self._live.update(self._bar, completed=step, description=self._description(step))
        elif now - self._mark_time >= _PIPE_SECONDS:
            self._measure(step, now, 0.0)
            self._console.say(f"step {self._description(step)}")

    def show(self, values: Mapping[str, float]) -> None:
        """Show these values from now on, under their short names."""
        for name, value in values.items():
            self._shown[name] = f"{name.removeprefix('train/')} {format_value(value)}"

    def _measure(self, step: int, now: float, least: float) -> None:
        """Take the rate since the last mark, at least `least` seconds ago."""
        if now - self._mark_time >= least:
            self._rate = (step - self._mark_step) * self._batch_size / (now - self._mark_time)
            self._mark_step, self._mark_time = step, now

    def _description(self, step: int) -> str:
        """Return steps done, time left, rate and the values to show."""
        parts = [f"{step}/{self._total}"]
        if self._rate:
            seconds = round((self._total - step) * self._batch_size / self._rate)
            hours, minutes = seconds // 3600, seconds // 60 % 60
            left = f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"
            parts += [f"{left} left", f"{self._rate:,.0f} examples/s"]
        return "  ".join([*parts, *self._shown.values()])


def format_value(value: Any) -> str:
    """Return a value for a line: four significant digits for a float."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(value: Any) -> str:
    """Return a table cell: four decimals, so that a column of shares stands in line."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _text(value: str) -> str:
    """Return a text from data that holds neither markup nor control characters, and is no longer than a column."""
    return escape(shortened(value, _LONGEST))


def _nowhere(text: str) -> None:
    """Drop a line: there is no run yet."""
