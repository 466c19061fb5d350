"""Exhibits drawn and printed: legible, safe, within the terminal."""

import io

import pytest
import torch
from PIL import Image
from rich.console import Console as RichConsole

from ptft.command.draw import draw
from ptft.command.show import matrix_lines, show
from ptft.engine.console import Console
from ptft.task.exhibit import Caption, Gallery, Matrix, Reliability, confusion, reliability

STRANGE = ("[red]a[/red]", "$x^2$ \\frac", "\x1b[31mred\x07", "漢字かな", "x" * 300, "two\nlines", "=1+1",
           "é\u202eabc", "", "[/]")  # fmt: skip


def matrix(names, size=400):
    generator = torch.Generator().manual_seed(0)
    label, noise = (torch.randint(len(names), (size,), generator=generator) for _ in range(2))
    return confusion(label, torch.where(torch.rand(size, generator=generator) < 0.7, label, noise), names)


def gallery(channels, size, *, heat=False, number=5, names=STRANGE):
    captions = tuple(Caption(names[k % len(names)], names[(k + k % 2) % len(names)], 0.9) for k in range(number))
    return Gallery("g", "Gallery", torch.arange(number), captions, torch.rand(number, *size) if heat else None)


def printed(exhibit, width=80, terminal=True):
    out = io.StringIO()
    colors = "truecolor" if terminal else None
    show(Console(RichConsole(file=out, width=width, force_terminal=terminal, color_system=colors)), exhibit)
    return out.getvalue()


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    "names", [("a", "b"), STRANGE, [f"class {k}" for k in range(30)], [str(k) for k in range(150)]]
)
def test_a_matrix_is_drawn_whatever_its_classes_are_called(names, recwarn):
    image = opened(draw(matrix(names), "run on test", lambda index: index))
    assert image.format == "PNG" and min(image.size) > 300 and max(image.size) < 4000
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_a_reliability_diagram_is_drawn_also_with_empty_bins():
    found = reliability(torch.zeros(5), torch.tensor([0, 0, 1, 0, 1]), torch.tensor([0.9, 0.91, 0.3, 0.99, 1.0]))
    assert isinstance(found[0], Reliability)
    assert opened(draw(found[0], "run", lambda index: index)).size[0] > 300


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("heat", [False, True])
@pytest.mark.parametrize("number", [1, 9])
def test_galleries_show_each_picture_with_its_caption(channels, heat, number, recwarn):
    pictures = torch.randint(256, (number, channels, 12, 16), dtype=torch.uint8)
    found = gallery(channels, (12, 16), heat=heat, number=number)
    image = opened(draw(found, "a $run$ on test", lambda index: pictures[index]))
    assert len(image.convert("RGB").getcolors(1_000_000) or []) > 50
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


@pytest.mark.parametrize("names", [tuple("0123456789"), STRANGE, tuple(f"long name {k}" for k in range(10))])
def test_a_matrix_of_ten_classes_fits_eighty_columns(names):
    lines = matrix_lines(matrix(names, 5000), 80)
    assert lines is not None
    assert max(RichConsole(width=200).measure(line).maximum for line in lines.split("\n")) <= 80
    assert len(lines.split("\n")) == 2 + len(names)


def test_a_pipe_gets_the_counts_without_colours_or_control_characters():
    found = matrix(STRANGE)
    text = printed(found, terminal=False)
    assert "\x1b" not in text and "\x07" not in text
    assert all(str(int(count)) in text for count in found.counts.diagonal())
    assert "\x1b[48;2" in printed(found) or "48;2;" in printed(found)


def test_many_classes_are_told_by_their_most_confused_pairs():
    names = tuple(f"kind {k}" for k in range(40))
    found = matrix(names, 3000)
    text = printed(found, terminal=False)
    row, column, count = found.pairs()[0]
    first = next(line for line in text.splitlines() if "kind" in line)
    assert names[row] in first and names[column] in first and str(count) in first
    assert "more pairs" in text


def test_a_matrix_of_nothing_is_not_printed():
    empty = Matrix("m", "Matrix", "label", "prediction", ("a", "b"), torch.zeros(2, 2, dtype=torch.int64))
    assert printed(empty) == ""
    assert opened(draw(empty, "run", lambda index: index)).size[0] > 100
