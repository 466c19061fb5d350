"""What a sweep leaves behind and says at its end: sweep.json, trials.csv, tables, the winner's command."""

import csv
import io
import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptft.runtime import files
from ptft.runtime.text import shortened, width_of
from ptft.sweep.contrast import compared_key, contrasts
from ptft.sweep.space import Params, Space, as_number
from ptft.sweep.trial import History, Point, Trial, history_of

SUMMARY, TABLE = "sweep.json", "trials.csv"
_CELL = 60
"""Columns that a cell of a table has."""
_SHORTEST = 4
"""Columns that a word keeps, however many settings there are."""
_AT = 24
"""Columns up to which a table of contrasts tells where a value does best."""


@dataclass(frozen=True)
class SweepFacts:
    """What is known of a sweep as a whole.

    Attributes:
        name: Its name.
        verb: The command that each trial runs.
        method: What chooses its points.
        objectives: Name and mode of what trials are compared by; empty before the first has ended.
        shares: How much of a whole training each rung is.
        total: How many points there are to be.
        seeds: Trials of each point.
        base: The overrides of one value, as typed.
        folder: Its folder.
    """

    name: str
    verb: str
    method: str
    objectives: list[tuple[str, str]]
    shares: tuple[float, ...]
    total: int
    seeds: int
    base: list[str]
    folder: Path


def history(facts: SweepFacts, trials: Sequence[Trial]) -> History:
    """Return all trials by point, with the modes of their objectives."""
    return history_of(trials, [mode for _, mode in facts.objectives])


def best_point(facts: SweepFacts, trials: Sequence[Trial]) -> Point | None:
    """Return the best point of those that went furthest, by the first objective; None before any has ended."""
    return next(iter(history(facts, trials).ranked()), None)


def best_trial(facts: SweepFacts, point: Point) -> Trial:
    """Return the best trial of a point."""
    sign = 1 if facts.objectives[0][1] == "max" else -1
    ended = [trial for trial in point.trials if trial.state != "failed" and point.rung in trial.values]
    return max(ended, key=lambda trial: (sign * trial.values[point.rung][0], -trial.number))


def write_sweep(facts: SweepFacts, trials: Sequence[Trial]) -> dict[str, Any]:
    """Replace sweep.json and trials.csv by what is known now; returns what the first holds."""
    known = history(facts, trials)
    best = next(iter(known.ranked()), None)
    counts = Counter(trial.state for trial in trials)
    summary: dict[str, Any] = {
        "name": facts.name,
        "command": facts.verb,
        "method": facts.method,
        "objectives": [list(one) for one in facts.objectives],
        "total": facts.total,
        "seeds": facts.seeds,
        "counts": {state: counts[state] for state in ("done", "failed", "running", "waiting")},
        "best": _as_json(facts, best) if best is not None else None,
    }
    if len(facts.objectives) > 1:
        summary["front"] = [_as_json(facts, point) for point in known.front()]
    summary["failed"] = [
        {"trial": trial.number, "reason": trial.reason, "params": trial.params}
        for trial in trials
        if trial.state == "failed"
    ]
    summary["reproduce"] = reproduce(facts, best) if best is not None else None
    summary["seconds"] = round(sum(trial.seconds for trial in trials), 3)
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair, from a file name that is no UTF-8, is written as its code, which in JSON means the same.
    files.replace_with(facts.folder / SUMMARY, f"{text}\n".encode(errors="backslashreplace"))
    files.replace_with(facts.folder / TABLE, _as_csv(facts, trials).encode(errors="backslashreplace"))
    return summary


def reproduce(facts: SweepFacts, point: Point) -> str:
    """Return the command that runs a point again alone, quoted for a shell."""
    dropped = ("name=", "overwrite=", "auto_resume=", "sweep.", "sweep=", "hydra.", "hydra/")
    kept = [text for text in facts.base if not text.lstrip("+~").startswith(dropped)]
    if facts.seeds > 1:
        kept = [text for text in kept if not text.lstrip("+").startswith("engine.seed=")]
    chosen = [f"{key}={value}" for key, value in point.params.items()]
    return shlex.join(["ptft", facts.verb, *kept, *chosen])


def short_params(params: Params) -> str:
    """Return values in few letters, `lr=0.003 model=vision/vgg`: the last word of a key where no two are the same."""
    last = Counter(key.rpartition(".")[2] for key in params)
    words = [f"{name if last[name := key.rpartition('.')[2]] == 1 else key}={value}" for key, value in params.items()]
    return " ".join(words)


def fitted_params(params: Params, width: int = _CELL) -> str:
    """Return `short_params` in at most so many columns, if that can be.

    Words lose their folder, then their middle, all to the same length; numbers and names of settings stay.
    """
    text = short_params(params)
    if width_of(text) <= width:
        return text
    words = {key: _word(value) for key, value in params.items()}
    for room in range(max(map(len, words.values()), default=0), _SHORTEST - 1, -1):
        cut = {k: word if as_number(word) is not None else shortened(word, room) for k, word in words.items()}
        text = short_params(cut)
        if width_of(text) <= width:
            break
    return text


def value_text(value: float) -> str:
    """Return a value with four decimals, or with four significant digits where those would tell little of it."""
    return f"{value:.4f}" if value == 0 or 0.01 <= abs(value) < 1e5 else f"{value:.4g}"


def top_table(facts: SweepFacts, trials: Sequence[Trial], count: int = 5) -> tuple[str, list[dict[str, Any]]]:
    """Return title and rows of the best points; with several objectives, of the front."""
    known = history(facts, trials)
    front = len(facts.objectives) > 1
    points = known.front() if front else known.ranked()[:count]
    rows = []
    for place, point in enumerate(points, 1):
        row: dict[str, Any] = {"": str(place), "trial": _numbers(point)}
        for (name, _), value in zip(facts.objectives, point.values() or (), strict=True):
            row[name] = _number(value)
        interval = point.interval()
        if facts.seeds > 1:
            row["±"] = _number((interval[1] - interval[0]) / 2) if interval is not None else ""
        if len(facts.shares) > 1:
            row["of whole"] = f"{facts.shares[point.rung]:.0%}"
        row["settings"] = fitted_params(point.params)
        rows.append(row)
    ended = sum(point.values() is not None for point in known.points)
    what = "The front" if front else f"Best {len(rows)}"
    return f"{what} of {ended} points of {facts.name}", rows


def failed_table(facts: SweepFacts, trials: Sequence[Trial], count: int = 10) -> tuple[str, list[dict[str, Any]]]:
    """Return title and rows of the trials that failed, of many the first."""
    failed = [trial for trial in trials if trial.state == "failed"]
    rows: list[dict[str, Any]] = [
        {
            "trial": str(trial.number),
            "reason": trial.reason or "",
            "settings": fitted_params(trial.params),
        }
        for trial in failed[:count]
    ]
    of = f", the first {count} here" if len(failed) > count else ""
    return f"{len(failed)} failed{of}; {facts.folder / 'logs'} holds what they said", rows


def contrast_table(facts: SweepFacts, trials: Sequence[Trial], space: Space) -> tuple[str, list[dict[str, Any]]]:
    """Return title and rows of the values of a setting against the one that wins; no rows where nothing is compared."""
    key = compared_key(space)
    found = contrasts(history(facts, trials), key) if key is not None and facts.objectives else []
    if facts.seeds < 2 or not found:
        return "", []
    rows: list[dict[str, Any]] = []
    others = [short_params({k: v for k, v in one.params.items() if k != one.key}) for one in found]
    for one, other in zip(found, others, strict=True):
        row: dict[str, Any] = {one.key: one.value, facts.objectives[0][0]: _number(one.mean)}
        row["to winner"] = "" if one.difference is None else f"{one.difference:+.4f}"
        row["95% interval"] = "" if one.interval is None else f"{one.interval[0]:+.4f} to {one.interval[1]:+.4f}"
        row["certain"] = "leads" if one.difference is None else {None: "", True: "yes", False: "no"}[one.certain]
        if 0 < max(map(width_of, others)) <= _AT:
            row["at"] = other
        rows.append(row)
    sure = all(one.certain for one in found[1:])
    told = "the intervals exclude zero" if sure else "an interval that holds zero: it may be chance"
    return f"{found[0].key}={found[0].value} {'wins' if sure else 'leads'}; {told}", rows


def _number(value: float) -> float | str:
    """Return a value as a table of `Console` shows it best: a number has four decimals there."""
    return float(value) if value_text(value) == f"{value:.4f}" else value_text(value)


def _word(value: str) -> str:
    """Return the name of an option without its folder; other values as they are."""
    return value.rpartition("/")[2] if re.fullmatch(r"[\w.-]+(/[\w.-]+)+", value) else value


def _numbers(point: Point) -> str:
    first, last = point.trials[0].number, point.trials[-1].number
    return str(first) if first == last else f"{first}-{last}"


def _as_json(facts: SweepFacts, point: Point) -> dict[str, Any]:
    trial = best_trial(facts, point)
    interval = point.interval()
    return {
        "point": point.number,
        "trial": trial.number,
        "run": f"{facts.name}/{trial.number}",
        "params": point.params,
        "values": {name: value for (name, _), value in zip(facts.objectives, point.values() or (), strict=True)},
        "interval": list(interval) if interval is not None else None,
        "share": facts.shares[point.rung],
    }


def _as_csv(facts: SweepFacts, trials: Sequence[Trial]) -> str:
    """Return a row a trial; what a spreadsheet would take for a formula begins with an apostrophe."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    names = [name for name, _ in facts.objectives]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["trial", "point", "seed", "state", "share", *names, "seconds", "attempts", "reason", *keys]
    writer.writerow([_plain(cell) for cell in head])
    for trial in trials:
        values = trial.values[max(trial.values)] if trial.values else ("",) * len(names)
        share = f"{facts.shares[trial.rung]:.4g}"
        own = [trial.number, trial.point, trial.seed, trial.state, share, *values]
        rest = [
            f"{trial.seconds:.3f}",
            trial.attempts,
            trial.reason or "",
            *(trial.params.get(key, "") for key in keys),
        ]
        writer.writerow([_plain(cell) for cell in (*own, *rest)])
    return text.getvalue()


def _plain(cell: Any) -> Any:
    if isinstance(cell, float) and not math.isfinite(cell):
        return ""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") and as_number(cell) is None:
        return f"'{cell}"
    return cell
