"""Entries as flat arrays: what is gathered of them is what was put in, padded on the right."""

import numpy as np
import torch

from ptft.data.text.encoded import encoded, join


def sample():
    return encoded(
        [0, 1, 1],
        {
            "input_ids": [[5, 6], [7], [8, 9, 10]],
            "labels": [[1, -100], [2], [3, 4, 5]],
            "word_start": [[True, False], [True], [True, True, False]],
        },
        fixed={"label": np.array([0, 1, 1]), "weight": np.array([0.5, 1, 2], dtype=np.float32)},
        padding={"input_ids": 3},
        num_truncated=1,
    )


def test_a_batch_is_padded_to_its_longest_entry():
    batch = sample().gather(np.array([2, 0]))
    assert batch["input_ids"].tolist() == [[8, 9, 10], [5, 6, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert batch["labels"].tolist() == [[3, 4, 5], [1, -100, -100]]
    assert batch["word_start"].tolist() == [[True, True, False], [True, False, False]]
    assert batch["label"].tolist() == [1, 0] and batch["weight"].tolist() == [2.0, 0.5]
    assert batch["index"].tolist() == [1, 0]
    assert sample().gather(np.array([1]))["input_ids"].shape == (1, 3)  # the length of the longest entry of all
    kinds = {name: value.dtype for name, value in batch.items()}
    assert kinds.pop("word_start") == torch.bool and kinds.pop("weight") == torch.float32
    assert set(kinds.values()) == {torch.int64}


def test_batches_come_in_few_lengths():
    lengths = [3, 8, 9, 30]
    texts = encoded(range(4), {"input_ids": [[1] * length for length in lengths]})
    widths = [texts.gather(np.array([entry]))["input_ids"].shape[1] for entry in range(4)]
    assert widths == [8, 8, 16, 30]
    assert [int(texts.gather(np.array([entry]))["attention_mask"].sum()) for entry in range(4)] == lengths


def test_tokens_lie_in_four_bytes_each_and_marks_in_one():
    kinds = {name: values.dtype for name, values in sample().ragged.items()}
    assert kinds == {"input_ids": np.int32, "labels": np.int32, "word_start": np.bool_}


def test_an_example_may_have_several_entries():
    assert sample().entries_of(np.array([1])).tolist() == [1, 2]
    assert sample().entries_of(np.array([0, 1])).tolist() == [0, 1, 2]
    assert sample().lengths.tolist() == [2, 1, 3]


def test_parts_are_joined_in_their_order():
    whole = sample()
    parts = [
        encoded([0], {"input_ids": [[5, 6]]}, padding={"input_ids": 3}, num_truncated=1),
        encoded([1, 1], {"input_ids": [[7], [8, 9, 10]]}, padding={"input_ids": 3}, num_truncated=2),
    ]
    joined = join(parts, {"label": np.array([0, 1, 1])})
    assert joined.gather(np.arange(3))["input_ids"].equal(whole.gather(np.arange(3))["input_ids"])
    assert joined.fixed["label"].tolist() == [0, 1, 1]
    assert joined.num_truncated == 3 and joined.told() == " (3 texts are longer and are cut)"
    assert encoded([], {"input_ids": []}).told() == ""
