"""Exhibits as pictures: confusion matrices, reliability diagrams and galleries, by matplotlib, without a display.

matplotlib is imported where it is used: it takes half a second, and most commands draw nothing.
"""

import io
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ptft.runtime.plotting import INK, QUIET, RED, blank, legible, style
from ptft.task.exhibit import Caption, Exhibit, Gallery, Matrix, Reliability

Pictures = Callable[[Tensor], Tensor]
"""Returns (n, C, H, W) uint8 for (n,) numbers of examples."""
_RIGHT, _WRONG = "#1a7f37", RED
_MOST_NAMED, _MOST_COUNTED = 60, 25
"""Classes up to which a matrix names its rows, and writes the counts into its cells."""
_NAME_WIDTH, _CAPTION_WIDTH = 22, 18


def draw(exhibit: Exhibit, heading: str, pictures: Pictures) -> bytes:
    """Return an exhibit as a PNG.

    Args:
        exhibit: What to show.
        heading: Said above it: which run, which split.
        pictures: Where the pictures of a gallery come from.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with matplotlib.rc_context(style()):
        if isinstance(exhibit, Matrix):
            figure = _matrix(exhibit, heading)
        elif isinstance(exhibit, Reliability):
            figure = _reliability(exhibit, heading)
        else:
            figure = _gallery(exhibit, heading, pictures(exhibit.index))
        buffer = io.BytesIO()
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(buffer)
    return buffer.getvalue()


# ---- Matrix --------------------------------------------------------------------------------------------------------


def _matrix(matrix: Matrix, heading: str) -> Any:
    """Shade each cell by its share of the row; the counts stand in the cells where they fit."""
    size = len(matrix.names)
    side = min(max(3.6, 0.36 * size), 14.0) if size <= _MOST_NAMED else 9.0
    named = size <= _MOST_NAMED
    names = [legible(name, _NAME_WIDTH) for name in matrix.names] if named else []
    margin = 0.085 * max(map(len, names), default=4)
    figure = blank(side + margin + 1.3, side + margin + 0.9)
    axes = figure.add_subplot()
    share = matrix.counts.double() / matrix.counts.sum(dim=1, keepdim=True).clamp(min=1)
    image = axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    if named:
        axes.set_xticks(range(size), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(size), names)
    if size <= _MOST_COUNTED:
        _write_counts(axes, matrix.counts, share)
    axes.set_xlabel(legible(matrix.columns, 40), color=QUIET)
    axes.set_ylabel(legible(matrix.rows, 40), color=QUIET)
    axes.tick_params(length=0 if named else 3)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#cccccc")
    _title(axes, matrix.title, heading)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02, ticks=[0, 0.5, 1])
    bar.set_label(f"share of the {matrix.rows}", color=QUIET)
    bar.outline.set_visible(False)
    return figure


def _write_counts(axes: Any, counts: Tensor, share: Tensor) -> None:
    digits = len(str(int(counts.max())))
    fontsize = {1: 9, 2: 9, 3: 8, 4: 6.5}.get(digits, 5.5)
    for row in range(len(counts)):
        for column in range(len(counts)):
            if count := int(counts[row, column]):
                color = "white" if share[row, column] > 0.55 else INK
                axes.text(column, row, str(count), ha="center", va="center", fontsize=fontsize, color=color)


# ---- Reliability ---------------------------------------------------------------------------------------------------


def _reliability(shown: Reliability, heading: str) -> Any:
    """Draw accuracy over confidence with the distance to the diagonal, and below it how many examples there are."""
    figure = blank(4.8, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.2, 1]})
    bins = len(shown.count)
    edges = torch.arange(bins).double() / bins
    filled = shown.count > 0
    left, confidence, accuracy = (values[filled].numpy() for values in (edges, shown.confidence, shown.accuracy))
    above.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color=QUIET, label="honest")
    above.bar(left, accuracy, width=1 / bins, align="edge", color="#2f6db5", edgecolor="white", label="accuracy")
    above.vlines(confidence, accuracy, confidence, color=_WRONG, linewidth=2, label="distance")
    above.scatter(confidence, confidence, s=9, color=_WRONG, zorder=3)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    above.legend(loc="upper left", frameon=False, fontsize=8)
    note = f"calibration error {shown.error:.4f}\n{int(shown.count.sum()):,} examples"
    above.text(0.98, 0.04, note, ha="right", va="bottom", fontsize=8, color=INK, transform=above.transAxes,
               bbox={"facecolor": "white", "edgecolor": "#dddddd", "boxstyle": "round,pad=0.4"})  # fmt: skip
    _title(above, shown.title, heading)
    below.bar(edges.numpy(), shown.count.numpy(), width=1 / bins, align="edge", color="#9db8d9", edgecolor="white")
    below.set(xlabel="confidence of the prediction", ylabel="examples")
    return figure


# ---- Gallery -------------------------------------------------------------------------------------------------------


def _gallery(gallery: Gallery, heading: str, images: Tensor) -> Any:
    """Draw pictures in a grid, each with what it is, what it was taken for, and how surely; heat lies over it."""
    number, maps = len(images), gallery.heat
    across = min(number, 4 if maps is not None else min(8, math.ceil(math.sqrt(2.6 * number))))
    down = math.ceil(number / across)
    wide = 1.0 if maps is None else 2.0  # the picture, and beside it the picture under its map
    figure = blank(max(1.45 * across * wide, 4.2), 1.9 * down + 0.5)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (axes, image, caption) in enumerate(zip(grid.flat, images, gallery.captions, strict=False)):
        axes.imshow(_pair(image, None if maps is None else maps[place]), interpolation="nearest")
        _write_caption(axes, caption)
    # Both at a fixed distance from the top: the first picture may stand anywhere below.
    inch = 1 / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.48 * inch))
    quiet: Any = {"va": "top", "fontsize": 8.5, "color": QUIET}
    figure.text(0.006, 1 - 0.08 * inch, legible(gallery.title, 70), va="top", fontsize=11, fontweight="bold")
    figure.text(0.006, 1 - 0.29 * inch, legible(heading, 70), **quiet)
    return figure


def _pair(image: Tensor, heat: Tensor | None) -> Any:
    """Return a picture (H, W, 3) in [0, 1]; with heat (H', W'), beside it the same one under its colours."""
    from matplotlib import colormaps

    colours = image.float().div(255)[: 3 if len(image) >= 3 else 1]
    plain = colours.expand(3, -1, -1) if len(colours) == 1 else colours
    if heat is None:
        return plain.permute(1, 2, 0).numpy()
    size = (plain.shape[1], plain.shape[2])
    stretched = torch.nn.functional.interpolate(heat[None, None], size=size, mode="bilinear")[0, 0].clamp(0, 1)
    glow = torch.from_numpy(colormaps["inferno"](stretched.numpy())[:, :, :3]).float()
    weight = (0.25 + 0.5 * stretched)[:, :, None]
    shown = plain.permute(1, 2, 0)
    gap = torch.ones(shown.shape[0], max(1, shown.shape[1] // 16), 3)
    return torch.cat([shown, gap, shown * (1 - weight) + glow * weight], dim=1).numpy()


def _write_caption(axes: Any, caption: Caption) -> None:
    right = caption.label == caption.prediction
    score = "" if caption.score != caption.score else f" {caption.score:.2f}"
    taken = f"{legible(caption.prediction, _CAPTION_WIDTH)}{score}"
    lines = [(taken, _RIGHT if right else _WRONG)]
    lines += [] if right else [(f"is {legible(caption.label, _CAPTION_WIDTH)}", INK)]
    for number, (text, color) in enumerate(lines):
        place = {"xy": (0.5, 0), "xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
        axes.annotate(text, xytext=(0, -3 - 10 * number), ha="center", fontsize=7.5, color=color, **place)


# ---- Titles --------------------------------------------------------------------------------------------------------


def _title(axes: Any, title: str, heading: str) -> None:
    axes.set_title(legible(title, 60), loc="left", pad=20)
    place = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(legible(heading, 70), xytext=(0, 6), ha="left", va="bottom", fontsize=8.5, color=QUIET, **place)
