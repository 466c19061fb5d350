"""Files in SQuAD's format: what is read, and how every mistake is named."""

import copy
import json

import pytest

from ptft.data.text.bad_rows import BadRows
from ptft.data.text.squad_file import Questions, read_squad
from ptft.errors import DataError

FILE = {
    "version": "v2.0",
    "data": [
        {
            "title": "Normans",
            "paragraphs": [
                {
                    "context": "The Normans gave their name to Normandy.",
                    "qas": [
                        {
                            "id": "n1",
                            "question": "What did they give?",
                            "answers": [{"text": "their name", "answer_start": 17}],
                        },
                        {
                            "id": "n2",
                            "question": "Who was king?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "The Normans", "answer_start": 0}],
                        },
                    ],
                }
            ],
        },
        {
            "paragraphs": [
                {
                    "context": "老舍生于北京。",
                    "qas": [{"id": 7, "question": "生于哪里?", "answers": [{"text": "北京", "answer_start": 4}] * 2}],
                }
            ]
        },
    ],
}


def read(tmp_path, document, bad=None):
    file = tmp_path / "dev.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    found = Questions()
    read_squad(file, "train", found, bad or BadRows(), {})
    return found


def changed(path, value):
    """Return the file with one value changed; None takes the key away."""
    document = copy.deepcopy(FILE)
    *steps, last = path
    owner = document
    for step in steps:
        owner = owner[step]
    if value is None:
        del owner[last]
    else:
        owner[last] = value
    return document


FIRST = ("data", 0, "paragraphs", 0, "qas", 0)


def test_questions_answers_and_where_they_stand_are_read(tmp_path):
    found = read(tmp_path, "\ufeff" + json.dumps(FILE))  # a byte-order mark
    assert found.question == ["What did they give?", "Who was king?", "生于哪里?"]
    assert found.answers == [(("their name", 17),), (), (("北京", 4), ("北京", 4))]
    assert found.title == ["Normans", "Normans", "article 2"] and found.id == ["n1", "n2", "7"]
    assert found.place[0] == ("dev.json: `Normans`, paragraph 1, question n1", 0)
    rows = found.rows(divided=False)
    assert rows.pairs == found.context and rows.splits is None and rows.columns["paragraph"][0] == "Normans 1/1"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            (*FIRST, "answers", 0, "answer_start"),
            16,
            r"n1.*`their name` does not stand at answer_start=16.*stands at 17",
        ),
        ((*FIRST, "answers", 0, "text"), "no name", r"does not hold it"),
        ((*FIRST, "answers", 0, "answer_start"), -1, r"answer_start=-1: nothing"),
        ((*FIRST, "answers", 0, "answer_start"), None, r"needs `text`, a text, and `answer_start`"),
        ((*FIRST, "answers", 0, "text"), " ", r"an answer is empty"),
        ((*FIRST, "answers"), [], r"there is no answer.*is_impossible"),
        ((*FIRST, "answers"), None, r"`answers` is missing"),
        ((*FIRST, "id"), None, r"question without an id.*`id` is missing"),
        ((*FIRST, "id"), "n2", r"question n2: the id stands there already: dev.json: `Normans`, paragraph 1"),
        ((*FIRST, "question"), "  ", r"n1.*the question is empty"),
        ((*FIRST, "is_impossible"), True, r"is_impossible is true, and there are 1 answers"),
        ((*FIRST, "is_impossible"), "yes", r"expected true or false"),
        ((*FIRST[:4], "context"), "", r"`Normans`, paragraph 1, question n1: the context is empty"),
        ((*FIRST[:4], "context"), None, r"`context` is missing"),
        ((*FIRST[:4], "qas"), None, r"`Normans`, paragraph 1: expected a list `qas`, found nothing"),
        ((*FIRST[:3], 0), "text", r"expected an object with context and qas, found a str"),
        (("data", 1, "paragraphs"), {}, r"article 2: expected a list `paragraphs`, found a dict"),
        (("data",), None, r"expected SQuAD's format.*found an object of `version`"),
    ],
)
def test_every_mistake_is_named_with_its_article_and_question(tmp_path, path, value, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, changed(path, value))
    assert "dev.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "no JSON: .*line 1 column 2"), ("[1]", "found a list"), ("[" * 100_000, "no JSON")]
)
def test_a_file_that_is_no_squad_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_bad_questions_can_be_left_out_and_are_listed(tmp_path):
    bad = BadRows("skip", 0.5)
    found = read(tmp_path, changed((*FIRST, "answers", 0, "answer_start"), 16), bad)
    assert found.id == ["n2", "7"]
    assert bad.rows[0]["file"].endswith("question n1") and "answer_start=16" in bad.rows[0]["reason"]
