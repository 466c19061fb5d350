"""What all pictures share."""

import warnings

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ptft.runtime.plotting import blank, legible, style


def test_names_are_written_so_that_the_font_can_draw_them():
    assert legible("plain", 20) == "plain"
    assert legible("\x1b[31m", 40).isprintable()
    assert len(legible("x" * 300, 20)) <= 20


def test_any_name_is_drawn_without_a_warning():
    with matplotlib.rc_context(style()), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = blank(2, 1)
        figure.text(0, 0, legible("a $run$ \U0001fae8 \u4f60\u597d \x07", 60))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    assert canvas.get_width_height() == (300, 150)
