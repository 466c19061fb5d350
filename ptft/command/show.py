"""Exhibits on the console: a confusion matrix shaded by rows where it fits, else the pairs most often confused."""

from rich.text import Text

from ptft.engine.console import Console
from ptft.runtime.text import shortened, width_of
from ptft.task.exhibit import Exhibit, Matrix

_MOST_CLASSES = 12
"""Classes up to which a matrix is worth a line each."""
_MOST_PAIRS = 10
_LEAST_CELL, _LEAST_NAME, _LONGEST_NAME = 3, 10, 26
_LEAST_SHADED = 0.02
"""Share of a row from which a mistake is worth a colour."""


def show(console: Console, exhibit: Exhibit) -> None:
    """Print what can be told in characters; other exhibits only come as pictures."""
    if not isinstance(exhibit, Matrix) or int(exhibit.counts.sum()) == 0:
        return
    lines = matrix_lines(exhibit, min(console.rich.width, 100)) if len(exhibit.names) <= _MOST_CLASSES else None
    if lines is not None:
        console.draw(lines)
    else:
        show_pairs(console, exhibit)


def matrix_lines(matrix: Matrix, width: int) -> Text | None:
    """Return a matrix as lines of at most `width` columns, or None where it does not fit.

    Columns carry the names where these are short, else the numbers that stand before the names of the rows. The shade
    of a cell is its share of the row; a terminal without colours shows the counts alone.
    """
    digits = max(len(str(int(matrix.counts.max()))), _LEAST_CELL)
    numbered = max(map(width_of, matrix.names)) > digits
    heads = [str(number) if numbered else shortened(name, digits) for number, name in enumerate(matrix.names)]
    names = [f"{number:>2} {name}" if numbered else name for number, name in enumerate(matrix.names)]
    cell = digits + 2
    room = width - 1 - cell * len(names)
    if room < _LEAST_NAME:
        return None
    names = [shortened(name, min(room, _LONGEST_NAME)) for name in names]
    first = max(map(width_of, names))
    lines = Text(f"{matrix.title} (rows: {matrix.rows}, columns: {matrix.columns})\n", style="bold")
    lines.append(" " * (first + 1), style="not bold")
    lines.append("".join(_right(head, cell - 1) + " " for head in heads) + "\n", style="not bold")
    for row, name in enumerate(names):
        lines.append(name + " " * (first + 1 - width_of(name)), style="not bold")
        total = max(int(matrix.counts[row].sum()), 1)
        for column in range(len(names)):
            count = int(matrix.counts[row, column])
            text = _right(str(count) if count else "·", cell - 1) + " "
            lines.append(text, style=_shade(count / total, hit=row == column))
        lines.append("\n" if row < len(names) - 1 else "")
    return lines


def show_pairs(console: Console, matrix: Matrix) -> None:
    """Print the pairs most often confused, with their share of the row."""
    pairs = matrix.pairs()
    totals = matrix.counts.sum(dim=1).tolist()
    rows = [
        {
            matrix.rows: shortened(matrix.names[row], 24),
            matrix.columns: shortened(matrix.names[column], 24),
            "examples": count,
            f"of the {matrix.rows}": f"{100 * count / totals[row]:.0f}%",
        }
        for row, column, count in pairs[:_MOST_PAIRS]
    ]
    console.table("Most often confused", rows)
    if len(pairs) > _MOST_PAIRS:
        console.say(f"and {len(pairs) - _MOST_PAIRS} more pairs")


def _right(text: str, width: int) -> str:
    return " " * (width - width_of(text)) + text


def _shade(share: float, *, hit: bool) -> str:
    """Return the style of a cell: from the terminal's own background to blue, for mistakes to red."""
    if share == 0:
        return "not bold dim"
    if not hit and share < _LEAST_SHADED:
        return "not bold"
    low, high = ((222, 235, 247), (33, 96, 166)) if hit else ((253, 226, 221), (178, 34, 34))
    strength = min(1.0, share if hit else 0.15 + 1.7 * share)  # mistakes are rarer, and what is looked for
    red, green, blue = (round(start + strength * (end - start)) for start, end in zip(low, high, strict=True))
    ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 130 else "white"
    return f"not bold {ink} on rgb({red},{green},{blue})"
