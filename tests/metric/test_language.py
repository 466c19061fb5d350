"""Language models are measured by totals over all tokens, whatever the cut; intervals draw examples again."""

import math

import pytest
import torch

from ptft.errors import DataError
from ptft.metric.language import LanguageMetrics


def columns(size, *, seed=0, pairs=False, byte_counts=False):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 40, (size,), generator=generator).double()
    found = {
        "loss": tokens * (1 + 3 * torch.rand(size, generator=generator, dtype=torch.double)),
        "tokens": tokens,
        "hits": (tokens * 0.4).floor(),
    }
    if byte_counts:
        found["bytes"] = tokens * 4
    if pairs:
        found |= {"pairs": torch.ones(size).double(), "pair_loss": torch.rand(size, generator=generator).double()}
        found["pair_hits"] = (found["pair_loss"] < 0.6).double()
    return found


def measured(found, cut, **settings):
    metrics = LanguageMetrics(**settings)
    for start in range(0, len(found["tokens"]), cut):
        metrics.update({name: values[start : start + cut] for name, values in found.items()})
    return metrics


def test_perplexity_is_of_the_mean_over_all_tokens_not_a_mean_of_means():
    numbers = {"loss": [3.0, 40.0], "tokens": [3.0, 10.0], "hits": [3.0, 0.0], "bytes": [9.0, 31.0]}
    metrics = measured({name: torch.tensor(values).double() for name, values in numbers.items()}, 1)
    found = metrics.compute()
    assert found["loss"] == pytest.approx(43 / 13) and found["perplexity"] == pytest.approx(math.exp(43 / 13))
    assert found["accuracy"] == pytest.approx(3 / 13) and found["bits_per_byte"] == pytest.approx(43 / 40 / math.log(2))


@pytest.mark.parametrize("pairs", [False, True])
def test_any_cut_gives_the_same_numbers(pairs):
    found = columns(50, pairs=pairs, byte_counts=not pairs)
    whole = measured(found, 50, pair_weight=0.5 if pairs else None)
    for cut in (1, 7):
        part = measured(found, cut, pair_weight=0.5 if pairs else None)
        assert part.compute() == whole.compute() and part.intervals() == whole.intervals()
    for name, (low, high) in whole.intervals().items():
        assert low < whole.compute()[name] < high, name
    assert whole.table() == []


def test_pairs_have_a_mean_of_their_own_and_their_weight_in_the_loss():
    found = columns(30, pairs=True)
    metrics = measured(found, 8, pair_weight=0.5).compute()
    token_loss = float(found["loss"].sum() / found["tokens"].sum())
    assert metrics["token_loss"] == pytest.approx(token_loss)
    assert metrics["next_sentence_loss"] == pytest.approx(float(found["pair_loss"].mean()))
    assert metrics["loss"] == pytest.approx(token_loss + 0.5 * float(found["pair_loss"].mean()))
    assert metrics["perplexity"] == pytest.approx(math.exp(token_loss))
    assert metrics["next_sentence_accuracy"] == pytest.approx(float(found["pair_hits"].mean()))


def test_parts_and_differences_know_the_examples():
    found, better = columns(60), columns(60)
    better["loss"] = better["loss"] - 0.1 * better["tokens"]
    metrics, other = measured(found, 9), measured(better, 60)
    rows = torch.arange(60) % 2 == 0
    alone = measured({name: values[rows] for name, values in found.items()}, 60)
    assert metrics.subset(rows).compute() == alone.compute()
    low, high = metrics.differences(other)["loss"]
    assert low == pytest.approx(-0.1) and high == pytest.approx(-0.1)  # what both find hard does not blur it
    with pytest.raises(ValueError, match="same examples"):
        metrics.differences(alone)


def test_nothing_asked_for_is_no_score():
    with pytest.raises(DataError, match="no token"):
        measured({"loss": torch.zeros(2), "tokens": torch.zeros(2), "hits": torch.zeros(2)}, 2).compute()
    with pytest.raises(DataError, match="no example"):
        LanguageMetrics().compute()
