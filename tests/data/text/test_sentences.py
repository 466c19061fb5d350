"""Sentences: cut where print ends them, English and Chinese."""

import pytest

from ptft.data.text.sentences import sentences


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('One. Two! "Three?" Four', ["One.", "Two!", '"Three?"', "Four"]),
        ("one line\nanother 3.14 line\n\n", ["one line", "another 3.14 line"]),
        ("这本书很好。真的吗？“是的。”他说", ["这本书很好。", "真的吗？", "“是的。”他说"]),
        (" \n", []),
    ],
)
def test_text_is_cut_into_sentences(text, wanted):
    assert sentences(text) == wanted
