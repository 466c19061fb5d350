"""Made-up questions: answers that stand there, names of one split only, the same for the same seed."""

import re

import pytest

from ptft.data.data_module import BatchPlan
from ptft.data.text.made_questions import QUESTIONS, names, paragraphs
from ptft.data.text.qa_tiny import QaTiny
from ptft.errors import ConfigError

PLAN = BatchPlan(batch_size=256)


def made(**settings):
    data = QaTiny((), paragraphs=60, tokenizer={"vocab_size": 300}, **settings)
    data.setup()
    return data


@pytest.fixture(scope="module")
def data():
    return made()


def test_every_answer_stands_in_its_paragraph_and_is_of_its_kind():
    kinds = {"year": r"1[89]\d\d", "town": r"[A-Z]\w+", "spouse": r"[A-Z]\w+", "number": r"[a-z]+"}
    asked = [(p.text, question) for p in paragraphs(names(0), 300, 1) for question in p.questions]
    for text, question in asked:
        if question.answer is not None:
            answer, start = question.answer
            assert text[start : start + len(answer)] == answer
            assert re.fullmatch(kinds.get(question.kind.split()[1], "[a-z]+"), answer)
    assert {question.kind for _, question in asked} == {" ".join(key) for key in QUESTIONS}
    assert 0.2 < sum(question.answer is None for _, question in asked) / len(asked) < 0.35


def test_a_question_without_an_answer_is_one_that_the_paragraph_does_not_tell():
    for paragraph in paragraphs(names(0), 200, 2):
        told = {}
        for question in paragraph.questions:
            key = (question.kind, re.search(r"(?!Where|Which)[A-Z][a-z]{4}\b", question.question)[0])
            assert told.setdefault(key, question.answer) == question.answer
    alone = [p for p in paragraphs(names(0), 300, 3, unanswerable=1.0) for q in p.questions if q.answer is not None]
    assert not alone


def test_the_seed_decides_all():
    first, again, other = (list(paragraphs(names(seed), 5, seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_nobody_of_one_split_is_told_of_in_another(data):
    found = []
    for loader in data.evaluation_loaders(PLAN).values():
        texts = " ".join(text for batch in loader for text in batch["context"])
        found.append(set(re.findall(r"\b[A-Z][a-z]{4}\b", texts)))
    assert all(found) and sum(map(len, found)) == len(set().union(*found))


def test_questions_are_data_like_any_other(data):
    assert data.spec.preprocessing["unanswerable"] and len(data.evaluation_loaders(PLAN)) == 3
    batch = next(iter(data.evaluation_loaders(PLAN)["test"]))
    assert "synthetic" in data.describe()
    assert (batch["windows"] == 1).all() and set(data.attributes()["kind"]) <= {" ".join(key) for key in QUESTIONS}
    assert made().spec.fingerprint == data.spec.fingerprint != made(split={"seed": 1}).spec.fingerprint
    assert not made(unanswerable=0.0).spec.preprocessing["unanswerable"]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="reads no file"):
        made(path="train.json")
    with pytest.raises(ConfigError, match="leave too little for val"):
        made(split={"val": 0.001})
