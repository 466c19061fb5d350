"""Plots of a sweep as PNG, by matplotlib, with no display: history, importance, objective against each setting, front.

matplotlib and Optuna are imported where they are used. A plot that cannot be made is left out: it never breaks a sweep.
"""

import io
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from ptft.runtime import files
from ptft.runtime.text import shortened
from ptft.sweep.report import SweepFacts, history
from ptft.sweep.space import Choice, Dimension, Interval, Space, as_number
from ptft.sweep.trial import History, Point, Trial

_STYLE: Any = {
    "font.size": 9,
    "font.family": ["DejaVu Sans"],
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "text.parse_math": False,  # a `$` in a name is no formula
    "figure.facecolor": "white",
}
_INK, _DOT, _BEST, _FAILED = "#222222", "#2f6db5", "#d97706", "#b42318"
_SIZE = (6.4, 3.8)
"""Inches."""
_DOTS_PER_INCH = 150
_FEWEST = 8
"""Points below which nobody can say which setting matters."""


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
        except Exception as error:  # of Optuna, of matplotlib, of its fonts: results are worth more than a picture
            missing.append(f"{name}.png could not be drawn: {type(error).__name__}: {error}")
            continue
        files.ensure_directory(facts.folder / "report")
        files.replace_with(facts.folder / "report" / f"{name}.png", data)
        written.append(f"{name}.png")
    return written, missing


def _drawn(draw: Callable[[Any], None]) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, dpi=_DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        data = io.BytesIO()
        figure.savefig(data, format="png")
    return data.getvalue()


def _history(axes: Any, facts: SweepFacts, known: History) -> None:
    """Draw the objective of each point in its order, and the best so far of those that were trained whole."""
    whole = len(facts.shares) - 1
    found = [(point, values[0]) for point in known.points if (values := point.values()) is not None]
    for rung in sorted({point.rung for point, _ in found}):
        part = [(point.number, value) for point, value in found if point.rung == rung]
        share = facts.shares[rung]
        label = f"{share:.0%} of a training" if whole else None
        axes.scatter(
            *zip(*part, strict=True), s=14 + 18 * share, color=_DOT, alpha=0.35 + 0.6 * share, label=label, lw=0
        )
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
    axes.set(title=_title(facts, "history"), xlabel="point", ylabel=facts.objectives[0][0])
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def _importance(axes: Any, facts: SweepFacts, known: History, space: Space) -> None:
    """Draw which settings the best points agree in, by PED-ANOVA (arXiv 2304.10255)."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from ptft.sweep.methods.tpe import study_of

    first = History(known.points, known.modes[:1])
    study = study_of(space, _with_first_value(first))
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    names = sorted(found, key=lambda name: found[name])
    axes.barh([shortened(name, 30) for name in names], [found[name] for name in names], color=_DOT, height=0.6)
    for place, name in enumerate(names):
        axes.text(found[name], place, f" {found[name]:.2f}", va="center", color=_INK, fontsize=8)
    axes.set(title=_title(facts, "importance"), xlabel=f"share of what decides of {facts.objectives[0][0]} (PED-ANOVA)")
    axes.set_xlim(0, 1.1 * max([*found.values(), 1e-9]))


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

    for point, value in found:
        chosen = point.number == best.number
        share = facts.shares[point.rung]
        axes.scatter(
            across(point), value, s=40 if chosen else 14 + 12 * share, color=_BEST if chosen else _DOT,
            alpha=1.0 if chosen else 0.35 + 0.5 * share, lw=0, zorder=3 if chosen else 2,
            label=f"best: {shortened(point.params[one.key], 24)}" if chosen else None,
        )  # fmt: skip
    if places:
        slanted = max(map(len, places)) * len(places) > 60
        labels = [shortened(text, 18) for text in places]
        axes.set_xticks(range(len(places)), labels, rotation=30 if slanted else 0, ha="right" if slanted else "center")
        axes.set_xlim(-0.5, len(places) - 0.5)
    elif isinstance(one, Interval) and one.log:
        axes.set_xscale("log")
        # Plain numbers: matplotlib writes powers as formulas, which names with a `$` must not become.
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.set(title=_title(facts, one.key), xlabel=one.key, ylabel=facts.objectives[0][0])
    axes.legend(frameon=False, fontsize=8)


def _front(axes: Any, facts: SweepFacts, known: History) -> None:
    """Draw both objectives against each other; those that nothing beats are joined."""
    found = [values for point in known.points if (values := point.values()) is not None]
    front = sorted(values for point in known.front() if (values := point.values()) is not None)
    axes.scatter(*zip(*found, strict=True), s=22, color=_DOT, alpha=0.5, lw=0)
    axes.plot(*zip(*front, strict=True), color=_BEST, marker="o", ms=5, lw=1.4, label="the front")
    (first, _), (second, _) = facts.objectives
    axes.set(title=_title(facts, "front"), xlabel=first, ylabel=second)
    axes.legend(frameon=False, fontsize=8)


def _bars(axes: Any, points: Sequence[Point]) -> None:
    """Draw the intervals over seeds."""
    for point in points:
        if (interval := point.interval()) is not None:
            axes.plot([point.number] * 2, interval, color=_DOT, lw=1, alpha=0.5)


def _title(facts: SweepFacts, what: str) -> str:
    return f"{shortened(facts.name, 40)}: {what}"
