"""CPU time per step of several loops that do the same work, run in turns so that a busy machine is unfair to none."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Loop = Callable[[int], float]
"""Trains so many steps and returns the CPU seconds they took."""


@dataclass(frozen=True)
class Entrant:
    """One loop of a contest; `needs` is the package without which it cannot take part."""

    name: str
    make: Callable[[], Loop]
    needs: str = ""

    @property
    def missing(self) -> bool:
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


@dataclass(frozen=True)
class Row:
    """One line of the table: `value` is None where nothing was measured, and `note` says why."""

    section: str
    name: str
    value: float | None
    unit: str
    ratio: float | None = None
    note: str = ""


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of all threads of this process while `work` runs."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def contest(section: str, entrants: list[Entrant], *, steps: int, warmup: int, rounds: int) -> list[Row]:
    """Let every entrant train `steps` steps in each round; the first entrant is what the others are compared with.

    The ratio is the median over the rounds of that round's ratio.
    """
    loops = {entrant.name: entrant.make() for entrant in entrants if not entrant.missing}
    for loop in loops.values():
        loop(warmup)
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            times[name].append(loop(steps) / steps)
    base = times[entrants[0].name]
    rows = []
    for entrant in entrants:
        if entrant.missing:
            note = f"left out: {entrant.needs} is not installed (pip install 'ptft[bench]')"
            rows.append(Row(section, entrant.name, None, "", note=note))
            continue
        own = times[entrant.name]
        ratio = statistics.median(mine / other for mine, other in zip(own, base, strict=True))
        rows.append(Row(section, entrant.name, statistics.median(own) * 1e3, "ms", ratio))
    return rows


def show(rows: list[Row]) -> None:
    """Print rows as plain text, each section under its title; the ratio is to the section's first line."""
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            print(f"\n{section:<48} {'value':>10}    {'ratio':>7}")
        value = " " * 14 if row.value is None else f"{row.value:10.3f} {row.unit:<3}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        print(f"  {row.name:<46} {value} {ratio:>6}  {row.note}".rstrip(), flush=True)
