"""The baselines of the language models: n-grams by hand, and that what was never seen leaves a probability."""

import math

import numpy as np
import pytest

from benchmarks.language_baselines import ngram_losses


def test_interpolated_ngrams_equal_those_written_out_by_hand():
    train, text, size = np.array([0, 1, 0, 2, 0, 1]), np.array([0, 1, 2, 0]), 4
    unigram = [(train.tolist().count(token) + 3 / size) / (6 + 3) for token in range(size)]
    after_0 = [(count + 2 * unigram[token]) / (3 + 2) for token, count in enumerate([0, 2, 1, 0])]
    after_1 = [(count + 1 * unigram[token]) / (1 + 1) for token, count in enumerate([1, 0, 0, 0])]
    after_2 = [(count + 1 * unigram[token]) / (1 + 1) for token, count in enumerate([1, 0, 0, 0])]
    expected = [unigram[0], after_0[1], after_1[2], after_2[0]]
    losses = ngram_losses(train, {"val": text}, size, 2)["val"]
    assert losses[0] == pytest.approx(-np.mean([math.log(unigram[token]) for token in text]))
    assert losses[1] == pytest.approx(-np.mean(np.log(expected)))


def test_probabilities_of_all_tokens_add_up_to_one():
    train, size = np.array([0, 1, 1, 2, 0, 1, 2, 2, 1, 0]), 5
    for context in ([0, 1], [3, 3], [1, 2]):
        texts = {str(token): np.array([*context, token]) for token in range(size)}
        whole, start = ngram_losses(train, texts, size, 3), ngram_losses(train, {"": np.array(context)}, size, 3)[""][2]
        assert sum(math.exp(2 * start - 3 * whole[str(token)][2]) for token in range(size)) == pytest.approx(1.0)
