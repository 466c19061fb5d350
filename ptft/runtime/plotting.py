"""What all pictures of ptft share: their look, their fonts, and names written so that the fonts can draw them.

matplotlib is imported where it is used: it takes half a second, and most commands draw nothing.
"""

from functools import cache
from typing import Any

from ptft.runtime.text import shortened

DOTS_PER_INCH = 150
INK, QUIET, BLUE, RED = "#222222", "#6b7280", "#2f6db5", "#b42318"
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "text.parse_math": False,  # a `$` in a name is no formula
    "figure.facecolor": "white",
}
_FURTHER_SCRIPTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic",
    "Noto Sans Devanagari", "Noto Sans Thai",
)  # fmt: skip
"""Common fonts of scripts that DejaVu Sans lacks."""


def style() -> Any:
    """Return what `matplotlib.rc_context` takes."""
    return {**_STYLE, "font.family": _families()}


def blank(width: float, height: float) -> Any:
    """Return an empty figure (`matplotlib.figure.Figure`), which needs no display.

    Args:
        width: Inches.
        height: Inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")


def legible(text: str, width: int) -> str:
    """Return a name as one line that the fonts can draw; a character they have no shape for is written as its code."""
    known = _shapes()
    written = "".join(c if ord(c) in known else c.encode("unicode_escape").decode() for c in text)
    return shortened(written, width)


@cache
def _families() -> list[str]:
    """Return the fonts to draw with: the one that comes with matplotlib, then those for further scripts, if any."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _FURTHER_SCRIPTS if name in installed)]


@cache
def _shapes() -> frozenset[int]:
    """Return the characters that some font has a shape for."""
    from matplotlib import font_manager

    files = [font_manager.findfont(font_manager.FontProperties(family=[name])) for name in _families()]
    return frozenset(code for file in files for code in font_manager.get_font(file).get_charmap())
