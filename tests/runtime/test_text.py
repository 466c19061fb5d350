"""Texts from data, shown: nothing that moves a cursor, nothing longer than its place."""

import pytest

from ptft.runtime.text import one_line, printable, shortened, width_of, wrapped


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "bell\x07", "turned\u202eabc", "tab\there", "\u200bempty"])
def test_control_characters_are_shown_not_sent(text):
    shown = printable(text)
    assert shown.isprintable() and "\\" in shown


def test_line_breaks_stay_unless_one_line_is_asked_for():
    assert printable("a\nb") == "a\nb"
    assert one_line("a\nb") == "a\\nb"


@pytest.mark.parametrize("text", ["plain", "漢字かな" * 20, "x" * 300, "e\u0301" * 40, "a\x1b" * 50])
@pytest.mark.parametrize("width", [5, 12, 40])
def test_a_shortened_text_fits_and_keeps_both_ends(text, width):
    found = shortened(text, width)
    assert width_of(found) <= width
    assert found[0] == text[0]
    assert "…" not in found or width < 12 or found[-1] == one_line(text)[-1]


def test_wide_characters_take_two_columns():
    assert width_of("漢字") == 4 and width_of("e\u0301") == 1


def test_long_lines_break_between_words_below_themselves():
    text = "head\n    found `a-b` where `c` was\n\nlonglonglong"
    assert wrapped(text, 24) == "head\n    found `a-b` where\n    `c` was\n\nlonglonglong"
    assert max(map(len, wrapped(text * 9, 30).splitlines())) <= 30


def test_a_command_to_type_stays_whole():
    text = "stopped\ngo on with: ptft finetune resume=a-long-name-of-a-run"
    assert wrapped(text, 20) == text
