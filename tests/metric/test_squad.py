"""Exact match and F1 of answers: by hand, against torchmetrics, and in Chinese."""

import random

import pytest

from ptft.metric.squad import exact_match, f1_score, tokens_of


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The  Cat's, mat!", ["cats", "mat"]),
        ("an A-Team (theory)", ["ateam", "theory"]),
        ("a\tthe\nan", []),
        ("$1,000 — twice", ["1000", "—", "twice"]),  # no ASCII punctuation, so SQuAD keeps it
        ("Ärger\u00a0im Bad", ["ärger", "im", "bad"]),
        ("", []),
    ],
)
def test_texts_fall_into_the_words_that_squad_s_script_compares(text, tokens):
    assert tokens_of(text) == tokens_of(text, "words") == tokens


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "f1"),
    [
        ("the cat", ["Cat."], 1, 1),
        ("a big cat", ["cat", "big cat sat"], 0, 0.8),  # the closest gold answer counts: 2 common of 2 and 3
        ("cat cat", ["cat"], 0, 2 / 3),  # words are bags, each counted as often as it stands there
        ("dog", ["cat"], 0, 0),
        ("", [], 1, 1),
        ("cat", [], 0, 0),
        ("", ["cat"], 0, 0),
        ("the", ["cat"], 0, 0),
        ("cat", ["the", "cat"], 1, 1),  # a gold answer of which nothing is left does not count
        ("", ["the"], 1, 1),
    ],
)
def test_the_best_gold_answer_counts(answer, golds, exact, f1):
    assert exact_match(answer, golds) == exact
    assert f1_score(answer, golds) == pytest.approx(f1, abs=1e-12)


def test_chinese_is_compared_by_characters_and_other_words_whole():
    assert tokens_of("《红楼梦》,作者 Cao Xueqin。") == ["红", "楼", "梦", "作", "者", "cao", "xueqin"]
    assert tokens_of("ひらカナ") == ["ひ", "ら", "カ", "ナ"]
    assert exact_match("2008年", ["2008年。"]) == 1
    assert f1_score("北京市", ["北京"]) == pytest.approx(0.8)
    assert f1_score("北京市", ["北京"], "words") == 0


def test_every_character_counts_where_it_is_asked_for():
    assert tokens_of("Cao, 1715", "characters") == ["c", "a", "o", "1", "7", "1", "5"]
    assert f1_score("1715", ["1716"], "characters") == 0.75


@pytest.mark.slow  # torchmetrics takes eight seconds to import
def test_random_answers_score_as_torchmetrics_says():
    reference = pytest.importorskip("torchmetrics.functional.text").squad
    draw = random.Random(0)
    words = ["the", "a", "cat", "cat,", "Dog", "dog's", "(sat)", "on", "mat.", "MAT"]
    for _ in range(300):
        answer, *golds = (" ".join(draw.choices(words, k=draw.randint(1, 6))) for _ in range(draw.randint(2, 4)))
        golds = [gold for gold in golds if tokens_of(gold)]
        if not golds or not tokens_of(answer):
            continue  # answers of articles alone: torchmetrics follows the script of v1.1, ptft that of v2.0
        found = reference(
            [{"prediction_text": answer, "id": "1"}], [{"answers": {"answer_start": [0], "text": golds}, "id": "1"}]
        )
        assert exact_match(answer, golds) == pytest.approx(float(found["exact_match"]) / 100)
        assert f1_score(answer, golds) == pytest.approx(float(found["f1"]) / 100, abs=1e-6)
