"""Tokenising: many texts at once give what one text alone gives, and only the beginning of a long one is read."""

import random

import numpy as np
import pytest

from ptft.data.text import encode
from ptft.data.text.encode import encode_texts
from ptft.data.text.tokenizer_training import TokenizerSettings, train_tokenizer

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "rain", "falls", "on", "hills")


@pytest.fixture(scope="module")
def texts():
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.choice((1, 5, 40, 400)))) for _ in range(60)] + [
        "x" * 3000,
        "你好" * 900,
        "你好，" * 900,
    ]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "character"])
def test_a_long_text_has_the_tokens_that_reading_all_of_it_gives(texts, kind, monkeypatch):
    tokenizer = train_tokenizer(TokenizerSettings(kind=kind, vocab_size=300), texts)
    heads = encode_texts(tokenizer, texts, max_length=24)
    monkeypatch.setattr(encode, "_head", lambda text, most: text)
    whole = encode_texts(tokenizer, texts, max_length=24)
    assert np.array_equal(heads.offsets, whole.offsets)
    assert np.array_equal(heads.ragged["input_ids"], whole.ragged["input_ids"])
    assert heads.num_truncated == whole.num_truncated > 0
    assert whole.lengths.max() == 24


def test_texts_are_tokenised_in_parts_that_change_nothing(texts, monkeypatch):
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=100), texts)
    whole = encode_texts(tokenizer, texts, max_length=16)
    monkeypatch.setattr(encode, "_AT_ONCE", 7)
    parts = encode_texts(tokenizer, texts, max_length=16)
    assert np.array_equal(parts.ragged["input_ids"], whole.ragged["input_ids"])
    assert np.array_equal(parts.index, whole.index) and parts.num_truncated == whole.num_truncated
    assert len(encode_texts(tokenizer, [], max_length=16)) == 0


def test_pairs_carry_their_types(texts):
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=100), texts)
    batch = encode_texts(tokenizer, ["the fox"], ["a dog"], max_length=16).gather(np.array([0]))
    ids, types = batch["input_ids"][0].tolist(), batch["token_type_ids"][0].tolist()
    sep = tokenizer.special_tokens["sep"]
    assert ids[0] == tokenizer.special_tokens["cls"] and ids.count(sep) == 2
    assert types == [0] * (ids.index(sep) + 1) + [1] * (len(ids) - ids.index(sep) - 1)
