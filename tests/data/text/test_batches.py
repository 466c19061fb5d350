"""Batches of texts: each example once, a pure function of seed and step, little padding, exact at any batch size."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from ptft.data.data_module import BatchPlan
from ptft.data.text import batches
from ptft.data.text.batches import EvaluationTexts, TrainingTexts
from ptft.data.text.encoded import encoded

SIZE, BATCH, WINDOW = 100, 8, 5


@pytest.fixture(scope="module")
def texts():
    """Texts of 1 to 40 tokens, each made of its own number; the odd ones are two windows."""
    lengths = np.random.default_rng(0).integers(1, 41, SIZE)
    index = [number for number in range(SIZE) for _ in range(1 + number % 2)]
    return encoded(index, {"input_ids": [[number] * int(lengths[number]) for number in index]})


def steps(texts, count, entries=None, window=WINDOW, workers=0, **plan):
    plan = BatchPlan(batch_size=plan.pop("batch_size", BATCH), **plan)
    entries = np.arange(len(texts)) if entries is None else entries
    loader = iter(TrainingTexts(texts, entries, plan, window, workers))
    made = list(itertools.islice(loader, count))
    loader.close()
    return made


def same(first, second):
    pairs = list(zip(first, second, strict=True))
    return all(one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one) for one, two in pairs)


def test_each_entry_of_a_window_comes_exactly_once(texts):
    from ptft.runtime.random import stream_indices

    loader = TrainingTexts(texts, np.arange(len(texts)), BatchPlan(batch_size=BATCH, seed=3), WINDOW)
    for window in range(8):
        seen = torch.cat(
            [torch.stack(loader.examples(step)) for step in range(window * WINDOW, (window + 1) * WINDOW)], 1
        )
        wanted = torch.stack(stream_indices(window, BATCH * WINDOW, len(texts), 3))
        assert sorted(seen.T.tolist()) == sorted(wanted.T.tolist())  # places and epochs


def test_an_epoch_shows_each_entry_once(texts):
    entries = np.arange(0, 80)
    seen = Counter()
    loader = TrainingTexts(texts, entries, BatchPlan(batch_size=BATCH), WINDOW)
    for step in range(len(entries) // BATCH):
        seen.update(loader.examples(step)[0].tolist())
    assert seen == Counter(range(80))


def test_a_resumed_stream_goes_on_where_it_was_whoever_makes_the_batches(texts):
    whole = steps(texts, 13)
    assert same(whole[6:], steps(texts, 7, start_step=6))
    assert same(whole, steps(texts, 13, workers=3))
    assert not same(whole, steps(texts, 13, seed=1))


def test_shares_of_ranks_make_up_the_global_batch(texts):
    for step, batch in enumerate(steps(texts, 6)):
        shares = [steps(texts, 1, start_step=step, rank=rank, world=3)[0]["index"] for rank in range(3)]
        assert torch.cat(shares).equal(batch["index"])


def test_batches_of_about_the_same_length_hold_little_padding_in_a_mixed_order(texts):
    def padding(window):
        made = steps(texts, 20, window=window)
        return sum(int((batch["attention_mask"] == 0).sum()) for batch in made), [b["input_ids"].shape[1] for b in made]

    plain, _ = padding(1)
    sorted_, widths = padding(WINDOW)
    assert sorted_ < plain / 2
    windows = [tuple(widths[start : start + WINDOW]) for start in range(0, 20, WINDOW)]
    assert any(list(window) != sorted(window) for window in windows)


def test_the_task_adds_to_each_batch_with_draws_of_its_examples_and_epochs(texts):
    def transform(batch, draws):
        return {**batch, "draw": draws.integers(0, 1 << 30)}

    made = steps(texts, 40, transform=transform)
    by_index = {}
    for batch in made:
        for index, draw in zip(batch["index"].tolist(), batch["draw"].tolist(), strict=True):
            by_index.setdefault(index, set()).add(draw)
    assert all(len(draws) > 1 for draws in by_index.values())  # another epoch, other draws
    assert same(made[9:11], steps(texts, 2, start_step=9, transform=transform))
    plan = BatchPlan(batch_size=7, transform=transform)
    loader = EvaluationTexts(texts, np.arange(SIZE), plan)
    assert same(list(loader), list(loader))


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("world", [1, 3])
def test_evaluation_shows_each_example_with_all_its_windows_once(texts, batch_size, world):
    rows = np.arange(10, 71)
    seen = Counter()
    for rank in range(world):
        loader = EvaluationTexts(texts, rows, BatchPlan(batch_size=batch_size, rank=rank, world=world))
        made = list(loader)
        assert len(made) == len(loader)
        for batch in made:
            assert len(batch["index"]) <= batch_size
            seen.update(batch["index"].tolist())
            assert (batch["input_ids"] == batch["index"][:, None] * batch["attention_mask"]).all()
    assert seen == Counter({row: 1 + row % 2 for row in rows.tolist()})


def test_batches_of_evaluation_hold_few_tokens_and_windows_stay_with_their_rank(texts, monkeypatch):
    monkeypatch.setattr(batches, "EVALUATION_TOKENS", 100)
    loader = EvaluationTexts(texts, np.arange(SIZE), BatchPlan(batch_size=1000))
    assert all(batch["input_ids"].numel() <= 100 for batch in loader)
    ranks = [EvaluationTexts(texts, np.arange(SIZE), BatchPlan(batch_size=9, rank=r, world=2)) for r in range(2)]
    owned = [{index for batch in loader for index in batch["index"].tolist()} for loader in ranks]
    assert not owned[0] & owned[1]


def test_a_text_longer_than_the_tokens_of_a_batch_comes_alone(texts, monkeypatch):
    monkeypatch.setattr(batches, "EVALUATION_TOKENS", 10)
    made = list(EvaluationTexts(texts, np.arange(SIZE), BatchPlan(batch_size=1000)))
    assert sum(len(batch["index"]) for batch in made) == len(texts)
    assert all(len(batch["index"]) == 1 or batch["input_ids"].numel() <= 10 for batch in made)


def test_the_first_batches_of_an_evaluation_stand_for_all():
    lengths = [1] * 50 + [30] * 50
    texts = encoded(range(100), {"input_ids": [[1] * length for length in lengths]})
    first = itertools.islice(EvaluationTexts(texts, np.arange(100), BatchPlan(batch_size=10)), 6)
    widths = {batch["input_ids"].shape[1] for batch in first}
    assert widths == {8, 30}
