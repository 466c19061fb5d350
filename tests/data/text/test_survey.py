"""The division of a corpus: whole documents, no copies, the same every time, flat in memory."""

import numpy as np
import pytest

from ptft.data.split import Split
from ptft.data.text import survey as module
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.documents import Piece
from ptft.data.text.survey import REMOVED, open_survey, take_survey
from ptft.errors import ConfigError, DataError


class Listed:
    """Documents from a list: texts, each of file number // 10."""

    identity = ""

    def __init__(self, texts):
        self.texts = texts
        self.files = [f"{number}.txt" for number in range(1 + len(texts) // 10)]
        self.num_bytes = sum(map(len, texts))

    def check(self, bad):
        pass

    def pieces(self, left_out=frozenset()):
        for number, text in enumerate(self.texts):
            yield Piece(text[:5], True, number // 10)
            if text[5:]:
                yield Piece(text[5:], False, number // 10)


def take(texts, folder, *, deduplicate=True, **split):
    folder.mkdir(exist_ok=True)
    take_survey(Listed(texts), Split.of(split), folder, BadRows(), deduplicate=deduplicate)
    return open_survey(folder)


TEXTS = [f"text {number}" for number in range(100)]


def test_each_split_gets_its_share_of_documents_the_same_every_time(tmp_path):
    first, again = take(TEXTS, tmp_path / "a"), take(TEXTS, tmp_path / "b")
    assert first.counts == (80, 10, 10) and np.array_equal(first.codes, again.codes)
    assert not np.array_equal(first.codes, take(TEXTS, tmp_path / "c", seed=1).codes)
    pieces = list(first.pieces(Listed(TEXTS)))
    assert "".join(piece.text for _, piece in pieces) == "".join(TEXTS)


def test_copies_are_removed_and_counted(tmp_path, monkeypatch):
    texts = [*TEXTS, "text 3", "text 4", "text 3"]
    survey = take(texts, tmp_path / "a")
    assert survey.num_copies == 3 and survey.codes[100:].tolist() == [REMOVED] * 3 and sum(survey.counts) == 100
    assert [piece.text for _, piece in survey.pieces(Listed(texts)) if piece.begins].count("text ") == 100
    assert take(texts, tmp_path / "b", deduplicate=False).num_copies == 0
    monkeypatch.setattr(module, "_ROWS", 16)
    assert np.array_equal(take(texts, tmp_path / "c").codes, survey.codes)


def test_files_are_kept_whole_where_asked_for(tmp_path):
    codes = take(TEXTS, tmp_path / "a", group="file").codes.reshape(10, 10)
    assert (codes == codes[:, :1]).all() and sorted(codes[:, 0].tolist()) == [0] * 8 + [1, 2]
    in_order = take(TEXTS[:10], tmp_path / "b", group="file").codes
    assert in_order.tolist() == [0] * 8 + [1, 2]
    with pytest.raises(ConfigError, match=r"group=author: .*data\.split\.group=file"):
        take(TEXTS, tmp_path / "c", group="author")


def test_a_single_document_is_cut_between_lines_in_order(tmp_path):
    text = "".join(f"line {number}\n" for number in range(100))
    survey = take([text], tmp_path)
    parts = ["", "", ""]
    begins = [0, 0, 0]
    for code, piece in survey.pieces(Listed([text])):
        parts[code] += piece.text
        begins[code] += piece.begins
    assert "".join(parts) == text and begins == [1, 1, 1]
    assert abs(len(parts[0]) / len(text) - 0.8) < 0.02 and parts[0].endswith("\n") and parts[1].startswith("line")


@pytest.mark.parametrize(
    ("texts", "hint"), [([], "holds no text"), (TEXTS[:2], "leaves none to train on; give more files")]
)
def test_too_little_is_an_error(texts, hint, tmp_path):
    with pytest.raises(DataError, match=hint):
        take(texts, tmp_path)


def test_a_damaged_survey_is_noticed(tmp_path):
    take(TEXTS, tmp_path)
    (tmp_path / "codes").write_bytes(b"\0" * 99)
    with pytest.raises(ValueError, match="99 documents where 100"):
        open_survey(tmp_path)
