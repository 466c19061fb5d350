"""What is shown while a sweep runs: a small table in a terminal, a line for each trial that ends in a pipe.

The process forks while it is shown, so nothing here runs in a thread: the table is drawn again when it is looked at.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ptft.engine.console import Console
from ptft.runtime.text import printable, shortened, width_of
from ptft.sweep.report import SweepFacts, best_point, short_params, value_text
from ptft.sweep.trial import Trial

_RUNNING, _LAST = 5, 3
"""Trials shown of those that run, and of those that ended last."""
_WIDTH = 80
_NAME_WIDTH = 16
"""Columns that the name of the objective may take."""


class Board:
    """Shows a sweep: call `update` whenever something may have changed, `close` at the end."""

    def __init__(self, facts: SweepFacts, console: Console, *, parallel: int) -> None:
        """Set what is shown.

        Args:
            facts: What is known of the sweep; replaced when more is.
            console: Where.
            parallel: How many trials run at once.
        """
        self.facts = facts
        self.console = console
        self.parallel = parallel
        self._ended: set[tuple[int, int]] | None = None
        self._recent: list[int] = []
        self._started: dict[int, tuple[int, float]] = {}
        self._live: Live | None = None

    def update(self, trials: Sequence[Trial], now: float) -> None:
        """Look at all trials.

        Args:
            trials: All of them.
            now: Seconds on a clock that only goes forward.
        """
        for trial in trials:
            if trial.state != "running":
                self._started.pop(trial.number, None)
            elif self._started.get(trial.number, (0, 0.0))[0] != trial.attempts:
                self._started[trial.number] = trial.attempts, now
        ended = {(trial.number, trial.rung) for trial in trials if trial.state in ("done", "failed")}
        # What a resumed sweep had done before is not told again.
        new = sorted(number for number, _ in ended - self._ended) if self._ended is not None else []
        self._ended = ended
        self._recent = [*(number for number in self._recent if number not in new), *new][-_LAST:]
        if self.console.rich.is_terminal:
            self._draw(trials, now)
        else:
            for number in new:
                self.console.say(self._line(trials[number], trials))

    def close(self) -> None:
        """Take the table away; what is said at the end tells the same."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, trials: Sequence[Trial], now: float) -> None:
        if self._live is None:
            self._live = Live(console=self.console.rich, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self.table(trials, now), refresh=True)

    def table(self, trials: Sequence[Trial], now: float) -> Table:
        """Return the table as it is now, at most a dozen lines of 80 columns."""
        title = Text(printable(self._title(trials)), style="bold", no_wrap=True, overflow="ellipsis")
        width = min(_WIDTH, self.console.rich.width)
        table = Table(title=title, title_justify="left", width=width, box=box.SIMPLE_HEAD, show_edge=False)
        for name, justify in (
            ("trial", "right"),
            ("state", "left"),
            ("seconds", "right"),
            (self._column(), "right"),
        ):
            table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        table.add_column("settings", no_wrap=True, overflow="ellipsis", ratio=1)
        for number in self._recent:
            self._row(table, trials[number], f"{trials[number].seconds:.0f}")
        for number in list(self._started)[:_RUNNING]:
            self._row(table, trials[number], f"{now - self._started[number][1]:.0f}")
        table.caption = Text(printable(self._state(trials)))
        table.caption_justify = "left"
        return table

    def _row(self, table: Table, trial: Trial, seconds: str) -> None:
        values = trial.values.get(max(trial.values)) if trial.values else None
        share = f" {self.facts.shares[trial.rung]:.0%}" if len(self.facts.shares) > 1 else ""
        told = trial.reason if trial.state == "failed" and trial.reason else short_params(trial.params)
        style = {"failed": "red", "running": "cyan"}.get(trial.state, "")
        cells: list[Any] = [str(trial.number), Text(f"{trial.state}{share}", style=style), seconds]
        table.add_row(*cells, "" if values is None else value_text(values[0]), Text(printable(told)))

    def _objective(self) -> str:
        return self.facts.objectives[0][0] if self.facts.objectives else "objective"

    def _column(self) -> str:
        """Return the objective's name for the head of a column, without its split where that is too long."""
        name = self._objective()
        return shortened(name if width_of(name) <= _NAME_WIDTH else name.rpartition("/")[2], _NAME_WIDTH)

    def _title(self, trials: Sequence[Trial]) -> str:
        best = best_point(self.facts, trials)
        if best is None:
            return f"{self.facts.name}: {self.facts.method}"
        value = value_text((best.values() or (0.0,))[0])
        return f"{self.facts.name}: best {value} by trial {best.trials[0].number}, {short_params(best.params)}"

    def _state(self, trials: Sequence[Trial]) -> str:
        counts = Counter(trial.state for trial in trials)
        to_go = self.facts.total * self.facts.seeds - counts["done"] - counts["failed"] - counts["running"]
        words = [f"{counts[state]} {state}" for state in ("done", "failed", "running")]
        return ", ".join([*words, f"{max(0, to_go)} to go"]) + self._left(trials, to_go + counts["running"])

    def _left(self, trials: Sequence[Trial], open_: int) -> str:
        """Return an estimate of the time left, from what trials took so far."""
        took = [trial.seconds for trial in trials if trial.state == "done"]
        if not took or open_ <= 0:
            return ""
        seconds = statistics.fmean(took) * max(1.0, open_ / self.parallel)
        hours, minutes = divmod(round(seconds / 60), 60)
        if hours:
            return f"; about {hours} h {minutes} min left"
        return f"; about {minutes} min left" if minutes > 1 else f"; about {max(1, round(seconds))} s left"

    def _line(self, trial: Trial, trials: Sequence[Trial]) -> str:
        ended = sum(one.state in ("done", "failed") for one in trials)
        values = trial.values.get(trial.rung)
        share = f" at {self.facts.shares[trial.rung]:.0%}" if len(self.facts.shares) > 1 else ""
        told = f"failed: {trial.reason}"
        if trial.state == "done":
            told = f"done{share}" + (f": {self._objective()} {value_text(values[0])}" if values else "")
        best = best_point(self.facts, trials)
        so_far = ""
        if best is not None:
            so_far = f", best {value_text((best.values() or (0.0,))[0])} (trial {best.trials[0].number})"
        of = self.facts.total * self.facts.seeds
        return f"trial {trial.number} {told} ({short_params(trial.params)}); {ended} of {of}{so_far}"
