"""A scatter plot of the stages of a compression: metric against latency, size as area, by matplotlib, with no display.

matplotlib is imported where it is used: it takes half a second, and most commands draw nothing.
"""

import io
import itertools
import math
from collections.abc import Sequence
from typing import Any

from ptft.compression.stage_result import EAGER, StageResult, pareto
from ptft.compression.table import human, metric_text
from ptft.runtime.plotting import BLUE, DOTS_PER_INCH, INK, QUIET, RED, blank, legible, style
from ptft.task.task import MetricSpec

_FRONT, _BEATEN, _FAILED = BLUE, "#9ca3af", RED
_SIZE = (7.2, 4.6)
"""Inches."""
_LARGEST, _SMALLEST = 900.0, 14.0
"""Square points of the largest file, and of the smallest dot that can be seen."""
_NAME_WIDTH = 26
_ANGLES = (20, -20, 160, -160, 90, -90, 50, -50, 130, -130)
"""Directions that a label may stand in from its dot, those tried first first."""
_DISTANCES = (3, 9, 17, 27, 40, 56)
"""Points between the dot's edge and the label."""
Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""
Dot = tuple[float, float, float]
"""Centre and radius in pixels."""


def scatter(
    results: Sequence[StageResult], spec: MetricSpec, title: str, *, gate: float | None = None, batch: int = 1
) -> bytes:
    """Return the plot as a PNG.

    Args:
        results: The stages, of different names; those without a latency at this batch size are left out.
        spec: The headline metric; up is more of it, whether that is better or not.
        title: Said above it.
        gate: The worst headline that passes, in the metric's own unit; None: there is no gate.
        batch: The batch size whose median latency counts.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    shown = [one for one in results if batch in one.latency and math.isfinite(one.validation.value)]
    assert shown, "nothing was measured"
    with matplotlib.rc_context(style()):
        figure = blank(*_SIZE)
        canvas: Any = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        areas = _areas(shown)
        _draw_dots(axes, shown, areas, spec, batch)
        line = _draw_front(axes, shown, spec, batch)
        _draw_axes(axes, shown, spec, batch, gate)
        _title(axes, title, any(one.passed is False for one in shown))
        figure.draw_without_rendering()  # from here on the axes stay where they are
        _draw_labels(axes, shown, areas, spec, batch, line, gate)
        buffer = io.BytesIO()
        canvas.print_png(buffer)
    return buffer.getvalue()


def _areas(results: Sequence[StageResult]) -> list[float]:
    """Return the area of each dot in square points."""
    largest = max(one.bytes for one in results) or 1
    return [max(_LARGEST * one.bytes / largest, _SMALLEST) for one in results]


def _point(one: StageResult, spec: MetricSpec, batch: int) -> tuple[float, float]:
    """Return milliseconds and metric of a stage as they are drawn."""
    return one.latency[batch].p50 * 1000, one.validation.value * spec.scale


# ---- What is drawn -------------------------------------------------------------------------------------------------


def _draw_dots(axes: Any, results: Sequence[StageResult], areas: Sequence[float], spec: MetricSpec, batch: int) -> None:
    front = pareto([one for one in results if one.passed is not False], batch)
    # Small dots lie above large ones.
    for one, area in sorted(zip(results, areas, strict=True), key=lambda pair: -pair[1]):
        x, y = _point(one, spec, batch)
        color = _FAILED if one.passed is False else _FRONT if one.name in front else _BEATEN
        score = one.validation
        if score.low is not None and score.high is not None:
            low, high = score.low * spec.scale, score.high * spec.scale
            axes.errorbar(
                x, y, [[max(y - low, 0)], [max(high - y, 0)]], color=color, linewidth=1, capsize=2.5, alpha=0.7
            )
        axes.scatter([x], [y], s=area, color=color, alpha=0.35, linewidth=0, zorder=3)
        axes.scatter([x], [y], s=area, facecolor="none", edgecolor=color, linewidth=1.2, zorder=3)


def _draw_front(axes: Any, results: Sequence[StageResult], spec: MetricSpec, batch: int) -> list[tuple[float, float]]:
    """Draw the best metric that is to be had at each latency, past the gate, as a line, and return its corners."""
    line: list[tuple[float, float]] = []
    for one in sorted(results, key=lambda one: (one.latency[batch].p50, one.drop)):
        x, y = _point(one, spec, batch)
        if one.passed is False:
            continue
        if not line or spec.better(y, line[-1][1]):
            line.append((x, y))
    if len(line) > 1:
        axes.plot(*zip(*line, strict=True), color=_FRONT, linewidth=1.2, alpha=0.8, zorder=2)
    return line


def _draw_axes(axes: Any, results: Sequence[StageResult], spec: MetricSpec, batch: int, gate: float | None) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    points = [_point(one, spec, batch) for one in results]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    axes.set_xscale("log")
    axes.set_xlim(left / 1.45, right * 1.6)
    subs = (1, 2, 5) if right / left > 2 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=30))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.14)
    axes.grid(axis="both", color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=3, color="#555555")
    if gate is not None:
        axes.axhline(gate * spec.scale, color=_FAILED, linestyle=(0, (5, 4)), linewidth=1, zorder=1)
    examples = "1 example" if batch == 1 else f"{batch} examples"
    axes.set_xlabel(f"latency of {examples}, median, ms", color=QUIET)
    unit = ", points" if spec.scale == 100 else ""
    less = ", less is better" if spec.mode == "min" else ""
    axes.set_ylabel(f"{legible(spec.name, 30)} on validation{unit}{less}", color=QUIET)


def _title(axes: Any, title: str, failed: bool) -> None:
    axes.set_title(legible(title, 70), loc="left", pad=20)
    said = "area: file size · bar: 95% interval · blue: not beaten in metric, latency and size"
    said += " · red: failed the gate" * failed
    place = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(said, xytext=(0, 6), ha="left", va="bottom", fontsize=8.5, color=QUIET, **place)


# ---- Labels --------------------------------------------------------------------------------------------------------


def _draw_labels(
    axes: Any,
    results: Sequence[StageResult],
    areas: Sequence[float],
    spec: MetricSpec,
    batch: int,
    line: Sequence[tuple[float, float]],
    gate: float | None,
) -> None:
    """Write beside each dot what it is, where nothing else stands; a thin line leads to a label that is far away."""
    point = DOTS_PER_INCH / 72
    places = [axes.transData.transform(_point(one, spec, batch)) for one in results]
    radii = [math.sqrt(area / math.pi) * point for area in areas]
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(places, radii, strict=True)]
    taken += [_bar(axes, one, spec, batch) for one in results]
    crossed = _along([tuple(axes.transData.transform(corner)) for corner in line])
    frame = axes.get_window_extent()
    window: Box = (frame.x0, frame.y0, frame.x1, frame.y1)
    if gate is not None:
        taken.append(_gate_label(axes, spec, gate, window, taken))
        y = float(axes.transData.transform((1, gate * spec.scale))[1])
        crossed += _along([(window[0], y), (window[2], y)])
    for one, (x, y), radius in zip(results, places, radii, strict=True):
        text = _label_of(one, results)
        drawn = axes.annotate(text, (x, y), xycoords="figure pixels", fontsize=8, color=INK, linespacing=1.15,
                              xytext=(x, y), textcoords="figure pixels", ha="left", va="bottom", zorder=5)  # fmt: skip
        extent = drawn.get_window_extent(axes.figure.canvas.get_renderer())
        dot = (x, y, radius)
        others = [(*place, r) for place, r in zip(places, radii, strict=True) if (*place, r) != dot]
        box, distance = _free_place(dot, (extent.width, extent.height), taken, crossed, window, others)
        drawn.set_position((box[0], box[1]))
        taken.append(box)
        if distance > _DISTANCES[2] or _mistaken(box, dot, others):
            _lead(axes, (x, y), radius, box)


def _label_of(one: StageResult, results: Sequence[StageResult]) -> str:
    """Return a name, what it runs in where that is not told by the others, and its size."""
    kinds = {(other.runtime, other.precision) for other in results}
    tells = one.parent or len({runtime for runtime, _ in kinds} - {EAGER}) > 1
    where = f"{one.runtime} {one.precision}, " if tells else ""
    return f"{legible(one.name, _NAME_WIDTH)}\n{where}{human(one.bytes, 'B')}"


def _bar(axes: Any, one: StageResult, spec: MetricSpec, batch: int) -> Box:
    """Return where the interval of a stage is drawn."""
    score = one.validation
    x, y = _point(one, spec, batch)
    low, high = (y if edge is None else edge * spec.scale for edge in (score.low, score.high))
    (left, bottom), (_, top) = axes.transData.transform([(x, low), (x, high)])
    return (left - 6, bottom, left + 6, top)


def _gate_label(axes: Any, spec: MetricSpec, gate: float, window: Box, taken: Sequence[Box]) -> Box:
    """Write what the gate is at one end of its line, whichever is free, and return where that stands."""
    y = float(axes.transData.transform((1, gate * spec.scale))[1])
    text = f"gate {metric_text(gate, spec)}"
    drawn = axes.annotate(text, (window[0], y), xycoords="figure pixels", fontsize=8, color=_FAILED, zorder=5,
                          xytext=(window[0], y), textcoords="figure pixels", ha="left", va="bottom")  # fmt: skip
    extent = drawn.get_window_extent(axes.figure.canvas.get_renderer())
    width, height = extent.width, extent.height
    boxes: list[Box] = [
        (x, bottom, x + width, bottom + height)
        for bottom in (y + 3, y - height - 5)
        for x in (window[2] - width - 6, window[0] + 8)
    ]
    best = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
    drawn.set_position((best[0], best[1]))
    return best


def _free_place(
    dot: Dot,
    size: tuple[float, float],
    taken: Sequence[Box],
    crossed: Sequence[tuple[float, float]],
    window: Box,
    others: Sequence[Dot],
) -> tuple[Box, float]:
    """Return the place for a label that covers least, and its distance from the dot's edge in points."""
    best: tuple[float, Box, float] | None = None
    radius = dot[2]
    for rank, (distance, angle) in enumerate(itertools.product(_DISTANCES, _ANGLES)):
        reach = radius + distance * DOTS_PER_INCH / 72
        dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        # The edge of the label that looks at the dot touches the circle of this reach.
        left = dot[0] + dx * reach - size[0] * (1 - dx) / 2
        bottom = dot[1] + dy * reach - size[1] * (1 - dy) / 2
        box = (left, bottom, left + size[0], bottom + size[1])
        covered = sum(_overlap(_wider(box), other) for other in taken)
        under = sum(box[0] - 2 <= x <= box[2] + 2 and box[1] - 2 <= y <= box[3] + 2 for x, y in crossed)
        outside = size[0] * size[1] - _overlap(box, window)
        mistaken = _mistaken(box, dot, others)
        cost = 10 * covered + 20 * under + 20 * outside + 15 * rank + 400 * mistaken
        if best is None or cost < best[0]:
            best = (cost, box, distance)
    assert best is not None
    return best[1], best[2]


def _mistaken(box: Box, dot: Dot, others: Sequence[Dot]) -> bool:
    """Tell whether a label stands nearer to another dot than to its own, so that it would be read as that one's."""
    return any(_gap(box, other) < _gap(box, dot) + 2 for other in others)


def _gap(box: Box, dot: Dot) -> float:
    """Return how far a label is from the edge of a dot; negative: it reaches into it."""
    near = (min(max(dot[0], box[0]), box[2]), min(max(dot[1], box[1]), box[3]))
    return math.dist(dot[:2], near) - dot[2]


def _lead(axes: Any, dot: tuple[float, float], radius: float, box: Box) -> None:
    """Draw a thin line from a dot's edge to its label."""
    end = (min(max(dot[0], box[0]), box[2]), min(max(dot[1], box[1]), box[3]))
    length = math.dist(dot, end)
    if length > radius:
        start = tuple(a + (b - a) * radius / length for a, b in zip(dot, end, strict=True))
        arrow = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 1}
        axes.annotate("", end, start, xycoords="figure pixels", textcoords="figure pixels", arrowprops=arrow)


def _wider(box: Box, by: float = 4) -> Box:
    return (box[0] - by, box[1] - by, box[2] + by, box[3] + by)


def _overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _along(corners: Sequence[tuple[float, ...]]) -> list[tuple[float, float]]:
    """Return points on a line through some corners, six pixels from each other."""
    points = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        steps = max(int(math.dist((x0, y0), (x1, y1)) / 6), 1)
        points += [(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(steps + 1)]
    return points
