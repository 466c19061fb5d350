"""Windows of long texts: nothing but the text is cut, no answer is lost, places lead back to the characters."""

import random

import numpy as np
import pytest

from ptft.data.text.answer_windows import encode_windows
from ptft.data.text.tokenizer import TextTokenizer
from ptft.errors import RowError
from tests.task.text.toys import tokenizer_files

WORDS = ("the", "cat", "sat", "on", "a", "mats", "dog", "quickly", "ran", ".")


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.from_files(tokenizer_files())


def text_of(count, seed):
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def answer_in(text, first, words):
    parts = text.split(" ")
    return " ".join(parts[first : first + words]), len(" ".join(parts[:first])) + (first > 0)


def spans_of(windows, text):
    """Return what the places of each window say in characters; None where they say no answer."""
    batch = windows.encoded.gather(np.arange(len(windows.encoded)))
    found = []
    for row in range(len(batch["index"])):
        start, end = int(batch["start"][row]), int(batch["end"][row])
        chars = int(batch["char_start"][row, start]), int(batch["char_end"][row, end])
        found.append(text[slice(*chars)] if (start, end) != (0, 0) else None)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_an_answer_no_longer_than_the_stride_lies_whole_in_a_window(tokenizer, seed):
    draw = random.Random(seed)
    text, length, stride = text_of(60, seed), draw.randint(16, 30), draw.randint(4, 9)
    for first in range(0, 58, 3):
        answer = answer_in(text, first, draw.randint(1, stride // 2))  # a word is at most two tokens
        windows = encode_windows(tokenizer, ["the dog"], [text], [[answer]], max_length=length, stride=stride)
        held = [span for span in spans_of(windows, text) if span is not None]
        assert held and set(held) == {answer[0]} and not len(windows.lost)
        assert windows.encoded.lengths.max() <= length


def test_windows_cover_the_text_share_the_stride_and_keep_the_question(tokenizer):
    text, stride = text_of(50, 0), 5
    windows = encode_windows(tokenizer, ["the dog", "a"], [text, "a cat"], max_length=20, stride=stride).encoded
    batch = windows.gather(np.arange(len(windows)))
    whole = tokenizer.encode(["the dog"], [text])[0]
    question = whole.ids[: whole.sequence_ids.index(1)]
    own = batch["index"] == 0
    covered = []
    for row in own.nonzero()[:, 0].tolist():
        ids = batch["input_ids"][row][batch["attention_mask"][row] == 1].tolist()
        assert ids[: len(question)] == question and ids[-1] == whole.ids[-1]
        part = ids[len(question) : -1]
        assert not covered or covered[-stride:] == part[:stride]
        covered += part[stride if covered else 0 :]
        assert batch["token_type_ids"][row].sum() == len(part) + 1
    assert covered == whole.ids[len(question) : -1]
    assert batch["windows"][own].tolist() == [int(own.sum())] * int(own.sum())
    assert batch["windows"][~own].tolist() == [1]


def test_characters_of_question_special_tokens_and_padding_are_empty(tokenizer):
    batch = encode_windows(
        tokenizer, ["the dog ran", "a"], ["a cat", "a cat sat"], max_length=20, stride=4
    ).encoded.gather(np.arange(2))
    inside = batch["char_end"] > batch["char_start"]
    assert inside.tolist() == [[False] * 5 + [True] * 2 + [False], [False] * 3 + [True] * 3 + [False] * 2]


def test_the_first_gold_answer_is_learned_and_none_points_at_the_first_token(tokenizer):
    text = "the cat sat on a mat"
    answers = [[("cat sat", 4), ("mat", 17)], []]
    windows = encode_windows(tokenizer, ["a", "a"], [text] * 2, answers, max_length=30, stride=4)
    assert spans_of(windows, text) == ["cat sat", None] and not len(windows.lost)


def test_an_answer_that_begins_within_a_token_takes_the_whole_token(tokenizer):
    windows = encode_windows(tokenizer, ["a"], ["the dogs ran"], [[("og", 5)]], max_length=30, stride=4)
    assert spans_of(windows, "the dogs ran") == ["dog"]


def test_an_answer_that_no_window_holds_is_counted(tokenizer):
    text = text_of(50, 1)
    windows = encode_windows(tokenizer, ["a", "a"], [text] * 2, [[(text, 0)], []], max_length=20, stride=4)
    assert windows.lost.tolist() == [0] and set(spans_of(windows, text)) == {None}


def test_a_question_that_leaves_no_room_and_an_empty_text_are_refused(tokenizer):
    with pytest.raises(RowError, match=r"take 23 of data.max_length=20 tokens") as caught:
        encode_windows(tokenizer, ["a", "a " * 20], [text_of(50, 1)] * 2, max_length=20, stride=4)
    assert caught.value.row == 1
    with pytest.raises(RowError, match="nothing that becomes a token"):
        encode_windows(tokenizer, ["a"], [" "], max_length=20, stride=4)
