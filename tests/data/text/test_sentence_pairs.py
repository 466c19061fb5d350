"""Sentence pairs: the second segment follows the first in half of them, and nothing of that is given away."""

import numpy as np
import pytest
import torch

from ptft.data.text.sentence_pairs import SentencePairs
from ptft.data.text.token_store import Stream

CLS, SEP, PAD = 1, 2, 0


def stream(num_documents=30, seed=0):
    """Return documents of 1 to 12 sentences of 1 to 9 tokens; token t at place t is t + 10."""
    generator = np.random.default_rng(seed)
    documents, sentences, place = [], [], 0
    for _ in range(num_documents):
        documents.append(place)
        for _ in range(generator.integers(1, 13)):
            sentences.append(place)
            place += int(generator.integers(1, 10))
    ids = np.arange(10, 10 + place, dtype=np.uint16)
    starts = ids % 3 == 0
    return Stream(ids, np.array(documents), np.array(sentences), None, starts)


def gather(pairs, seed=0, epoch=0):
    index = torch.arange(len(pairs))
    return pairs.gather(index.numpy(), seed, torch.full_like(index, epoch))


def parts(batch, row):
    """Return the places in the stream of both segments of a pair."""
    tokens = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
    assert tokens[0] == CLS and tokens[-1] == SEP and tokens.count(SEP) == 2 and batch["token_type_ids"].max() == 1
    middle = tokens.index(SEP)
    types = batch["token_type_ids"][row].tolist()
    assert types == [0] * (middle + 1) + [1] * (len(tokens) - middle - 1) + [0] * (len(types) - len(tokens))
    return [token - 10 for token in tokens[1:middle]], [token - 10 for token in tokens[middle + 1 : -1]]


@pytest.mark.parametrize("length", [8, 32, 64])
def test_both_segments_are_runs_of_text_and_the_label_tells_whether_they_follow(length):
    text = stream()
    pairs = SentencePairs(text, length, CLS, SEP, first=50)
    batch = gather(pairs)
    assert batch["index"].tolist() == list(range(50, 50 + len(pairs)))
    for row in range(len(pairs)):
        first, second = parts(batch, row)
        assert first and second and len(first) + len(second) <= length - 3
        for run in (first, second):
            assert run == list(range(run[0], run[-1] + 1))
        own, other = (np.searchsorted(text.documents, run[0], side="right") for run in (first, second))
        if batch["next_sentence"][row]:
            assert second[0] == first[-1] + 1 and own == other and second[0] in text.sentences
        else:
            assert own != other and second[0] in text.sentences
        assert np.searchsorted(text.documents, second[-1], side="right") == other
        inside = [place for place in range(length) if batch["input_ids"][row, place] >= 10]
        assert [bool(batch["word_start"][row, place]) for place in inside] == [
            bool(text.word_start[place]) for place in [*first, *second]
        ]


def test_about_half_follow_and_all_of_the_text_is_gone_through():
    text = stream(300)
    batch = gather(SentencePairs(text, 32, CLS, SEP))
    assert 0.4 < batch["next_sentence"].double().mean() < 0.58
    seen = {place for row in range(len(batch["index"])) for place in parts(batch, row)[0]}
    seen |= {place for row in torch.nonzero(batch["next_sentence"])[:, 0].tolist() for place in parts(batch, row)[1]}
    assert len(seen) > 0.5 * len(text)
    lengths = batch["attention_mask"].sum(1).double()
    follows = batch["next_sentence"] == 1
    assert abs(lengths[follows].mean() - lengths[~follows].mean()) < 3


def test_pairs_are_drawn_anew_in_each_epoch_and_are_the_same_for_the_same_one():
    pairs = SentencePairs(stream(), 32, CLS, SEP)
    first, again, other = gather(pairs), gather(pairs), gather(pairs, epoch=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["input_ids"], other["input_ids"])
    index = torch.tensor([5, 2])
    some = pairs.gather(index.numpy(), 0, torch.zeros_like(index))
    assert torch.equal(some["input_ids"], first["input_ids"][index])


def test_one_document_has_no_strangers():
    assert SentencePairs(stream(2), 16, CLS, SEP).has_strangers()
    assert not SentencePairs(stream(1), 16, CLS, SEP).has_strangers()
