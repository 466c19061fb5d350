"""Blocks of a token store: every token once, nothing across documents where these are isolated."""

import numpy as np
import pytest
import torch

from ptft.data.text.packed import CausalBlocks, MaskedBlocks
from ptft.data.text.token_store import Stream

SEPARATOR, PAD, CLS, SEP = 1, 0, 2, 3


def stream(lengths, *, lead):
    """Return documents of so many tokens, 10, 11, 12 ..., with separators; `lead`: one stands at the beginning too."""
    ids, documents, token = ([SEPARATOR] if lead else []), [], 10
    for length in lengths:
        documents.append(len(ids))
        ids += [*range(token, token + length), SEPARATOR]
        token += length
    sizes = np.array([0 if token == SEPARATOR else token % 4 + 1 for token in ids], dtype=np.uint16)
    starts = np.array([token % 3 == 0 or token == SEPARATOR for token in ids])
    return Stream(np.array(ids, dtype=np.uint16), np.array(documents), np.zeros(0, np.int64), sizes, starts)


def gather(blocks, numbers=None):
    numbers = np.arange(len(blocks)) if numbers is None else np.array(numbers)
    index = torch.from_numpy(numbers)
    return blocks.gather(numbers, 0, index * 0)


@pytest.mark.parametrize("length", [1, 3, 7, 8, 50])
def test_each_token_of_a_stream_is_predicted_exactly_once_from_the_one_before(length):
    text = stream([5, 1, 9, 0, 3], lead=True)
    batch = gather(CausalBlocks(text, length, first=100, pad=PAD))
    counted = batch["labels"] != -100
    assert batch["input_ids"][counted].tolist() == text.ids[:-1].tolist()
    assert batch["labels"][counted].tolist() == text.ids[1:].tolist()
    assert torch.equal(counted, batch["attention_mask"].bool())
    assert (batch["input_ids"][~counted] == PAD).all() and batch["input_ids"].shape[1] == length
    assert batch["num_bytes"].sum() == text.num_bytes.sum()
    assert batch["index"].tolist() == list(range(100, 100 + len(batch["index"])))
    assert not batch["token_type_ids"].any() and all(value.dtype == torch.int64 for value in batch.values())


def test_bytes_of_a_block_are_those_of_its_labels():
    text = stream([5, 9], lead=True)
    batch = gather(CausalBlocks(text, 4))
    for row, labels in enumerate(batch["labels"].tolist()):
        wanted = sum(0 if token == SEPARATOR else token % 4 + 1 for token in labels if token != -100)
        assert batch["num_bytes"][row] == wanted


@pytest.mark.parametrize("length", [4, 7, 50])
def test_isolated_causal_documents_are_never_predicted_from_each_other(length):
    lengths = [5, 1, 9, 0, 3]
    batch = gather(CausalBlocks(stream(lengths, lead=True), length, isolate=True))
    whose = {
        token: number
        for number, tokens in enumerate(np.split(np.arange(10, 28), np.cumsum(lengths)[:-1]))
        for token in tokens
    }
    for tokens, labels, documents in zip(
        *(batch[key].tolist() for key in ("input_ids", "labels", "document")), strict=True
    ):
        for place, label in enumerate(labels):
            if label == -100:
                assert documents[place] == 0
                continue
            seen = [
                token
                for token, document in zip(tokens[: place + 1], documents, strict=False)
                if document == documents[place]
            ]
            owners = {whose[token] for token in [*seen, label] if token >= 10}
            assert len(owners) <= 1 and documents[place] >= 1
            if tokens[place] == SEPARATOR:
                assert seen == [SEPARATOR]
        numbers = [number for number in documents if number]
        assert numbers[0] == 1 and set(np.diff(numbers).tolist()) <= {0, 1}


@pytest.mark.parametrize("length", [4, 7, 50])
def test_masked_blocks_hold_each_token_once_between_their_ends(length):
    text = stream([5, 1, 9, 0, 3], lead=False)
    batch = gather(MaskedBlocks(text, length, CLS, SEP, first=7, pad=PAD))
    rows = [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    assert all(row[0] == CLS and row[-1] == SEP for row in rows)
    assert [token for row in rows for token in row[1:-1]] == text.ids.tolist()
    assert all(len(row) == length for row in rows[:-1]) and batch["index"][0] == 7
    inside = (batch["attention_mask"] == 1) & (batch["input_ids"] != CLS) & (batch["input_ids"] != SEP)
    assert batch["word_start"][inside].tolist() == text.word_start.tolist() and batch["word_start"][~inside].all()


def test_isolated_masked_documents_are_numbered_with_the_separator_that_ends_them():
    text = stream([2, 1, 0, 4], lead=False)
    batch = gather(MaskedBlocks(text, 8, CLS, SEP, pad=PAD, isolate=True))
    assert batch["input_ids"].tolist() == [[2, 10, 11, 1, 12, 1, 1, 3], [2, 13, 14, 15, 16, 1, 3, 0]]
    assert batch["document"].tolist() == [[1, 1, 1, 1, 2, 2, 3, 3], [1, 1, 1, 1, 1, 1, 1, 0]]


def test_any_rows_in_any_order_are_the_same_blocks():
    blocks = CausalBlocks(stream([5, 1, 9, 0, 3], lead=True), 4, isolate=True)
    whole, some = gather(blocks), gather(blocks, [3, 0, 3])
    for name, values in whole.items():
        assert torch.equal(values[[3, 0, 3]], some[name]), name
