"""Plots of a sweep as PNG, by matplotlib, with no display: history, importance, objective against each setting, front.

matplotlib and Optuna are imported where they are used. A plot that cannot be made is left out: it never breaks a sweep.
"""

import io
import math
import random
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ptft.runtime import files
from ptft.runtime.plotting import BLUE, INK, QUIET, RED, blank, legible, style
from ptft.sweep.report import SweepFacts, history
from ptft.sweep.space import Choice, Dimension, Interval, Space, as_number
from ptft.sweep.trial import History, Point, Trial

_STYLE: Any = {
    "axes.titlelocation": "left",
    "axes.labelcolor": QUIET,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.useoffset": False,  # 0.98765 on every tick rather than a sum beside the axis
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
}
_DOT, _BEST, _FAILED = BLUE, "#d97706", RED
_SIZE = (6.4, 3.8)
"""Inches."""
_FEWEST = 8
"""Points below which nobody can say which setting matters."""
_WORD_WIDTH = 18
"""Characters of a value on an axis."""
_MOST_WORDS = 40
"""Values that have room on an axis; of more, every second or third is named."""


def write_plots(facts: SweepFacts, trials: Sequence[Trial], space: Space) -> tuple[list[str], list[str]]:
    """Write what can be drawn into `report/`.

    Args:
        facts: What is known of the sweep.
        trials: All its trials.
        space: What was searched.

    Returns:
        The names of the files, and why others are missing.
    """
    known = history(facts, trials)
    ranked = known.ranked()
    if not ranked:
        return [], []
    plots: dict[str, Callable[[Any], None]] = {"history": lambda axes: _history(axes, facts, known)}
    if len(ranked) >= _FEWEST and len(space.dimensions) > 1:
        plots["importance"] = lambda axes: _importance(axes, facts, known, space)
    for one in space.dimensions:
        name = f"slice_{re.sub(r'[^A-Za-z0-9_.-]+', '_', one.key)}"
        plots[name] = lambda axes, one=one: _slice(axes, facts, known, one)  # type: ignore[misc]
    if len(facts.objectives) == 2:
        plots["front"] = lambda axes: _front(axes, facts, known)
    written, missing = [], []
    for name, draw in plots.items():
        try:
            data = _drawn(draw)
            files.ensure_directory(facts.folder / "report")
            files.replace_with(facts.folder / "report" / f"{name}.png", data)
        except Exception as error:  # of Optuna, of a font, of a full disk: results are worth more than a picture
            missing.append(f"{name}.png could not be drawn: {type(error).__name__}: {error}")
        else:
            written.append(f"{name}.png")
    return written, missing


def _drawn(draw: Callable[[Any], None]) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with matplotlib.rc_context({**style(), **_STYLE}), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a character without a shape is drawn as a box: nothing to tell at a sweep's end
        figure = blank(*_SIZE)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw(axes)
        handles, labels = axes.get_legend_handles_labels()
        if handles:  # below the axes, where no dot can be
            place: Any = {"loc": "outside lower center", "ncols": min(len(handles), 5), "frameon": False}
            figure.legend(handles, labels, fontsize=8, columnspacing=1.2, handlelength=1.4, **place)
        data = io.BytesIO()
        figure.savefig(data, format="png")
    return data.getvalue()


def _history(axes: Any, facts: SweepFacts, known: History) -> None:
    """Draw the objective of each point in its order, and the best so far of those that were trained whole."""
    whole = len(facts.shares) - 1
    found = [(point, values[0]) for point in known.points if (values := point.values()) is not None]
    _dots(axes, facts, [(point.number, value, point.rung) for point, value in found])
    _bars(axes, [point for point, _ in found])
    better = max if facts.objectives[0][1] == "max" else min
    steps, best = [], None
    for point, value in found:
        if point.rung == whole:
            best = value if best is None else better(best, value)
            steps.append((point.number, best))
    if steps:
        steps.append((max(point.number for point in known.points), steps[-1][1]))
        axes.step(*zip(*steps, strict=True), where="post", color=_BEST, lw=1.6, label="best so far")
    failed = [point.number for point in known.points if point.state == "failed"]
    if failed:
        low, high = axes.get_ylim()
        axes.scatter(
            failed, [low] * len(failed), marker="x", color=_FAILED, s=28, label="failed", clip_on=False, zorder=3
        )
        axes.set_ylim(low, high)
    axes.set(title=_title(facts, "history"), xlabel="point", ylabel=_name(facts.objectives[0]))
    _whole_numbers(axes)


def _importance(axes: Any, facts: SweepFacts, known: History, space: Space) -> None:
    """Draw which settings the best points agree in, by PED-ANOVA (arXiv 2304.10255)."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from ptft.sweep.methods.tpe import study_of

    first = History(known.points, known.modes[:1])
    study = study_of(space, _with_first_value(first))
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    names = sorted(found, key=lambda name: found[name])
    axes.barh([legible(name, 30) for name in names], [found[name] for name in names], color=_DOT, height=0.6)
    for place, name in enumerate(names):
        axes.text(found[name], place, f" {found[name]:.2f}", va="center", color=INK, fontsize=8)
    axes.set(title=_title(facts, "importance"), xlabel=f"share of what decides of {facts.objectives[0][0]} (PED-ANOVA)")
    axes.set_xlim(0, 1.1 * max([*found.values(), 1e-9]))
    axes.grid(visible=False, axis="y")


def _with_first_value(known: History) -> History:
    """Return a history of the first objective alone."""
    from dataclasses import replace

    def first(trial: Trial) -> Trial:
        return replace(trial, values={rung: values[:1] for rung, values in trial.values.items()})

    return History(tuple(Point(p.number, tuple(map(first, p.trials))) for p in known.points), known.modes)


def _slice(axes: Any, facts: SweepFacts, known: History, one: Dimension) -> None:
    """Draw the objective against the values of a setting."""
    found = [(point, values[0]) for point in known.points if (values := point.values()) is not None]
    best = known.ranked()[0]
    places = {text: place for place, text in enumerate(one.values)} if isinstance(one, Choice) else {}
    dice = random.Random(0)

    def across(point: Point) -> float:
        text = point.params[one.key]
        if not places:
            return as_number(text) or 0.0
        return places[text] + dice.uniform(-0.12, 0.12)  # so that equal ones do not hide each other

    dots = [(across(point), value, point.rung) for point, value in found if point.number != best.number]
    _dots(axes, facts, dots)
    label = f"best: {legible(best.params[one.key], 24)}"
    axes.scatter(across(best), (best.values() or (0.0,))[0], s=40, color=_BEST, lw=0, zorder=3, label=label)
    if isinstance(one, Choice):
        _words(axes, one.values)
    else:
        _numbers(axes, one)
    axes.set(title=_title(facts, one.key), xlabel=one.key, ylabel=_name(facts.objectives[0]))


def _front(axes: Any, facts: SweepFacts, known: History) -> None:
    """Draw both objectives against each other; those that nothing beats are joined."""
    found = [values for point in known.points if (values := point.values()) is not None]
    front = sorted(values for point in known.front() if (values := point.values()) is not None)
    axes.scatter(*zip(*found, strict=True), s=22, color=_DOT, alpha=0.5, lw=0)
    axes.plot(*zip(*front, strict=True), color=_BEST, marker="o", ms=5, lw=1.4, label="the front")
    first, second = facts.objectives
    axes.set(title=_title(facts, "front"), xlabel=_name(first), ylabel=_name(second))


# ---- Dots and axes -------------------------------------------------------------------------------------------------


def _dots(axes: Any, facts: SweepFacts, dots: Sequence[tuple[float, float, int]]) -> None:
    """Draw dots, each given by its place and its rung: the longer a training, the larger and darker."""
    last = len(facts.shares) - 1
    for rung in sorted({rung for _, _, rung in dots}):
        places = [(x, y) for x, y, own in dots if own == rung]
        far = rung / last if last else 1.0
        label = f"{facts.shares[rung]:.0%} of a training" if last else None
        look: Any = {"s": 14 + 18 * far, "color": _DOT, "alpha": 0.35 + 0.6 * far, "lw": 0}
        axes.scatter(*zip(*places, strict=True), label=label, **look)


def _bars(axes: Any, points: Sequence[Point]) -> None:
    """Draw the intervals over seeds."""
    for point in points:
        if (interval := point.interval()) is not None:
            axes.plot([point.number] * 2, interval, color=_DOT, lw=1, alpha=0.5)


def _numbers(axes: Any, interval: Interval) -> None:
    """Set the axis of an interval, from end to end: what was not tried is seen too."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = interval.low, interval.high
    if not interval.log:
        axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
        if interval.integer:
            _whole_numbers(axes)
        return
    axes.set_xscale("log")
    ratio = high / low
    axes.set_xlim(low / ratio**0.04, high * ratio**0.04)
    # Less than a decade may hold no power of ten: then further numbers are named.
    subs = (1,) if ratio > 100 else (1, 2, 5) if ratio > 5 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    if ratio > 2:
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    # Plain numbers: matplotlib writes powers as formulas, which names with a `$` must not become.
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")


def _whole_numbers(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _words(axes: Any, values: Sequence[str]) -> None:
    """Set the axis of a choice: labels stand slanted, then upright, where they would meet."""
    labels = _told_apart(values)
    every = math.ceil(len(labels) / _MOST_WORDS)
    rotation = 90 if len(labels) > 16 else 30 if (max(map(len, labels)) + 2) * len(labels) > 70 else 0
    turned: Any = {"rotation": rotation, "rotation_mode": "anchor", "ha": "right", "va": "center"} if rotation else {}
    axes.set_xticks(range(0, len(labels), every), labels[::every], **turned)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.grid(visible=False, axis="x")


def _told_apart(values: Sequence[str]) -> list[str]:
    """Return values short enough for an axis: without their common folder, then without all that they share."""
    if max(map(len, values)) > _WORD_WIDTH:
        folder = _beginning(values).rfind("/") + 1
        values = [text[folder:] for text in values]
    cut = [legible(text, _WORD_WIDTH) for text in values]
    if len(set(cut)) == len(cut):
        return cut
    start = len(_beginning(values))
    end = len(_beginning([text[start:][::-1] for text in values]))
    return [legible(f"…{text[start : len(text) - end]}…", _WORD_WIDTH) for text in values]


def _beginning(values: Sequence[str]) -> str:
    """Return what all of some texts begin with."""
    first, last = min(values), max(values)
    return first[: next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _name(objective: tuple[str, str]) -> str:
    name, mode = objective
    return f"{legible(name, 36)}{', less is better' if mode == 'min' else ''}"


def _title(facts: SweepFacts, what: str) -> str:
    return f"{legible(facts.name, 40)}: {what}"
