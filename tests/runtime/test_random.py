"""Orders and draws: exact where they must be, and statistically what they claim."""

import collections
import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import stats

from ptft.runtime.random import BLOCK, Draws, mix_integer, mix_tensor, permute, seed_for, stream_indices

SIZES = (1, 2, 3, 5, 17, 64, 257, 1000, 5000)


def sigmas(counts, expected, freedom=None):
    """How many standard deviations chi-square lies from its mean."""
    counts = np.asarray(counts, dtype=float)
    freedom = counts.size - 1 if freedom is None else freedom
    return (((counts - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom)


def orders(size, epochs, seed=3):
    """(epochs, size): the order of each epoch."""
    places = torch.arange(size).repeat(epochs)
    return permute(places, size, seed, torch.arange(epochs).repeat_interleave(size)).view(epochs, size).numpy()


def draws(count=4000, seed=0, epoch=0):
    return Draws(seed, torch.full((count,), epoch), torch.arange(count))


# ---- Hashing


def test_the_hash_is_that_of_splitmix64():
    # The first outputs of SplitMix64 from state 0, as its authors publish them.
    golden = 0x9E3779B97F4A7C15
    outputs = [mix_integer(golden * step) for step in (1, 2, 3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_tensors_hash_as_integers_do():
    values = torch.randint(-(2**63), 2**63 - 1, (500,), generator=torch.Generator().manual_seed(0))
    hashed = [value % 2**64 for value in mix_tensor(values).tolist()]
    assert hashed == [mix_integer(value) for value in values.tolist()]


def test_dropout_seeds_differ_by_each_of_their_arguments():
    seeds = {seed_for(*numbers) for numbers in itertools.product(range(8), repeat=4)}
    assert len(seeds) == 8**4
    assert len({seed % 2**32 for seed in seeds}) == 8**4  # torch's CPU generator keeps 32 bits
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_for(1, 2, 3, 4) == seed_for(1, 2, 3, 4)


# ---- Order


@pytest.mark.parametrize("size", SIZES)
def test_each_example_comes_exactly_once_an_epoch(size):
    for seed, epoch in itertools.product((0, 1, 2**40, -3), (0, 1, 7)):
        assert sorted(permute(torch.arange(size), size, seed, epoch).tolist()) == list(range(size))


def test_epochs_and_seeds_have_different_orders():
    found = [tuple(permute(torch.arange(1000), 1000, seed, epoch).tolist()) for seed in (0, 1) for epoch in range(20)]
    assert len(set(found)) == 40


def test_positions_may_span_epochs_and_be_cut_anyhow():
    size, places = 17, torch.arange(100)
    whole = permute(places % size, size, 5, places // size)
    one_by_one = [int(permute(torch.tensor([place % size]), size, 5, place // size)) for place in range(100)]
    assert whole.tolist() == one_by_one


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_orders_of_a_few_things_are_equally_likely(size):
    counts = collections.Counter(map(tuple, orders(size, 12_000).tolist()))
    table = [counts[order] for order in itertools.permutations(range(size))]
    assert abs(sigmas(table, 12_000 / math.factorial(size))) < 5


@pytest.mark.parametrize("size", [17, 100, 1000])
def test_each_example_is_as_likely_at_each_place(size):
    epochs = 300_000 // size
    found = orders(size, epochs)
    table = np.zeros((size, size))
    np.add.at(table, (np.tile(np.arange(size), epochs), found.ravel()), 1)
    assert abs(sigmas(table, epochs / size, (size - 1) ** 2)) < 5


@pytest.mark.parametrize("size", [17, 257, 1000])
@pytest.mark.parametrize("apart", ["next", "one row of the network"])
def test_neighbours_in_the_order_are_independent(size, apart):
    gap = 1 if apart == "next" else math.isqrt(size - 1) + 1
    found = orders(size, 600_000 // size)
    steps = np.bincount(((found[:, gap:] - found[:, :-gap]) % size).ravel(), minlength=size)[1:]
    assert abs(sigmas(steps, steps.sum() / (size - 1))) < 5


def test_orders_of_successive_epochs_are_independent():
    found = orders(200, 1500)
    steps = np.bincount(((found[1:] - found[:-1]) % 200).ravel(), minlength=200)
    assert abs(sigmas(steps, steps.sum() / 200)) < 5


@pytest.mark.parametrize(("size", "batch_size"), [(1, 3), (5, 3), (17, 64), (1000, 32), (1437, 100), (1000, 10_000)])
def test_the_stream_is_the_row_of_epochs_whatever_the_batch_size(size, batch_size):
    steps = max(2, 3 * BLOCK // batch_size // 2)
    parts = [stream_indices(step, batch_size, size, 9) for step in range(steps)]
    index, epoch = (torch.cat(column) for column in zip(*parts, strict=True))
    places = torch.arange(steps * batch_size)
    assert torch.equal(epoch, places // size)
    assert torch.equal(index, permute(places % size, size, 9, places // size))


def test_the_first_index_of_ten_million_needs_no_list():
    tracemalloc.start()
    index, epoch = stream_indices(70_000, 128, 10_000_000, 123)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20  # a list of ten million indices takes 80 MB
    assert len(set(index.tolist())) == 128
    assert int(index.min()) >= 0 and int(index.max()) < 10_000_000
    assert set(epoch.tolist()) == {0}


def test_orders_and_draws_are_those_of_every_machine_and_version():
    # Stored outputs: a run resumed elsewhere or later must see the same examples and the same draws.
    assert stream_indices(3, 8, 1000, 4)[0].tolist() == [849, 827, 843, 127, 914, 620, 743, 434]
    assert seed_for(1, 2, 3, 4) == 4433498631895953043
    stored = Draws(7, torch.tensor([0, 1]), torch.tensor([5, 6]))
    assert stored.child("crop").bits(2).tolist() == [5723195755418215654, -50086412921707999]
    assert stored.repeat(2).integers(1, 1000).tolist() == [773, 298, 416, 597]


# ---- Draws


@pytest.mark.parametrize("kind", ["uniform", "normal", "integers"])
@pytest.mark.parametrize("shape", [(), (3, 5)])
def test_draws_do_not_depend_on_how_the_batch_is_cut(kind, shape):
    index, epoch = torch.arange(101) * 7, torch.arange(101) // 60
    arguments = (2, 10, *shape) if kind == "integers" else (2, *shape)

    def draw(rows):
        return getattr(Draws(5, epoch[rows], index[rows]).child("crop"), kind)(*arguments)

    whole = draw(torch.arange(101))
    assert whole.shape == (101, *shape)
    for size in (1, 2, 7, 33, 100):
        assert torch.equal(torch.cat([draw(rows) for rows in torch.arange(101).split(size)]), whole)


def test_each_argument_gives_other_draws():
    base = draws(50)
    others = [draws(50, seed=1), draws(50, epoch=1), base.child("a"), base.child("b"), base.child("a").child("b")]
    others += [base.child("b").child("a"), base.repeat(1)]
    found = [one.bits(slot) for one in (base, *others) for slot in (0, 1)]
    assert len({value for bits in found for value in bits.tolist()}) == 50 * len(found)
    assert torch.equal(base.child("a").bits(3), draws(50).child("a").bits(3))


def test_repeated_examples_draw_differently_but_by_themselves():
    views = draws(6).repeat(3)
    assert len(views) == 18 and len(set(views.bits(0).tolist())) == 18
    alone = Draws(0, torch.zeros(1, dtype=torch.int64), torch.tensor([4])).repeat(3)
    assert torch.equal(views.bits(0)[12:15], alone.bits(0))


def test_uniform_draws_are_uniform_and_keep_their_bounds():
    values = draws().uniform(0, 5).flatten()
    assert values.dtype == torch.float32 and float(values.min()) >= 0 and float(values.max()) < 1
    assert abs(sigmas(np.histogram(values, 64, (0, 1))[0], len(values) / 64)) < 5
    moved = draws().uniform(0, low=-2, high=3)
    assert float(moved.min()) >= -2 and float(moved.max()) <= 3 and abs(float(moved.mean()) - 0.5) < 0.1


def test_integers_are_uniform():
    values = draws().integers(1, 7, 3)
    assert values.dtype == torch.int64
    assert abs(sigmas(np.bincount(values.flatten(), minlength=7), values.numel() / 7)) < 5
    assert draws(10).integers(0, 1).tolist() == [0] * 10


def test_normal_draws_have_the_moments_and_shares_of_the_normal_distribution():
    values = draws().normal(0, 10).double().flatten()
    assert abs(float(values.mean())) < 0.02 and abs(float(values.std()) - 1) < 0.02
    assert abs(float((values**4).mean()) - 3) < 0.2
    edges = torch.special.ndtri(torch.arange(1, 16, dtype=torch.float64) / 16)
    counts = torch.bincount(torch.bucketize(values, edges), minlength=16)
    assert abs(sigmas(counts, len(values) / 16)) < 5


@pytest.mark.parametrize("other", ["index", "slot", "epoch", "place", "child", "seed"])
def test_neighbouring_draws_are_independent(other):
    base = draws()
    first, second = {
        "index": lambda: (base.uniform(0)[:-1], base.uniform(0)[1:]),
        "slot": lambda: (base.uniform(0), base.uniform(1)),
        "epoch": lambda: (base.uniform(0), draws(epoch=1).uniform(0)),
        "place": lambda: (base.uniform(0, 2)[:, 0], base.uniform(0, 2)[:, 1]),
        "child": lambda: (base.child("a").uniform(0), base.child("b").uniform(0)),
        "seed": lambda: (base.uniform(0), draws(seed=1).uniform(0)),
    }[other]()
    cells = np.histogram2d(first.numpy(), second.numpy(), 8, ((0, 1), (0, 1)))[0]
    assert abs(sigmas(cells, len(first) / 64)) < 5


def test_no_global_generator_is_touched():
    before = torch.random.get_rng_state()
    draws().normal(0, 3)
    stream_indices(0, 10, 100, 77)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.5, 40.0])
def test_beta_draws_have_the_moments_and_the_quantiles_of_the_distribution(alpha):
    values = draws(200_000).beta(1, alpha).double().numpy()
    assert values.min() >= 0 and values.max() <= 1
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(values.mean() - 0.5) < 5 * math.sqrt(variance / 200_000)
    assert values.var() == pytest.approx(variance, rel=0.02)
    shares = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    below = [(values <= place).mean() for place in stats.beta(alpha, alpha).ppf(shares)]
    assert np.abs(below - shares).max() < 0.005


def test_beta_draws_with_alpha_one_are_evenly_spread_and_each_slot_has_its_own():
    one, other = (draws(50_000).beta(slot, 1.0) for slot in (0, 1))
    assert abs(sigmas(torch.histc(one, 50, 0, 1).numpy(), 1000)) < 5
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.02
    assert draws(10).beta(0, 0.3, 2, 4).shape == (10, 2, 4)
