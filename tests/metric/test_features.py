"""Nearest neighbours, effective rank and Frechet distance against scikit-learn, SciPy and closed forms."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.neighbors import KNeighborsClassifier

from ptft.metric import neighbours as neighbours_module
from ptft.metric.effective_rank import effective_rank
from ptft.metric.frechet import FrechetMetrics, frechet_distance, pixel_features
from ptft.metric.neighbours import NeighbourMetrics, Neighbours


def remember(features, label, k, index=None):
    index = torch.arange(len(label)) if index is None else index
    return Neighbours.embed(features, label, index, num_classes=int(label.max()) + 1, num_neighbours=k)


@pytest.mark.parametrize("k", [1, 5])
def test_votes_agree_with_scikit_learn(k, monkeypatch):
    monkeypatch.setattr(neighbours_module, "BLOCK_NUMBERS", 70 * 16)  # several blocks
    features, label = torch.randn(70, 6), torch.randint(4, (70,))
    queries = torch.randn(50, 6)
    reference = KNeighborsClassifier(k, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    reference.fit(features, label)
    prediction, score = remember(features, label, k).vote(queries, torch.arange(1000, 1050))
    assert prediction.tolist() == reference.predict(queries).tolist()
    assert torch.allclose(score.double(), torch.tensor(reference.predict_proba(queries)).max(1).values, atol=1e-5)


def test_an_example_does_not_vote_for_itself():
    features, label = torch.eye(4) + 0.1, torch.tensor([0, 1, 0, 1])
    prediction, _ = remember(features, label, 1).vote(features, torch.arange(4))
    itself, _ = remember(features, label, 1, index=torch.arange(10, 14)).vote(features, torch.arange(4))
    assert itself.tolist() == label.tolist()
    assert prediction[0] != 0 or prediction[1] != 1


def test_more_neighbours_than_examples_means_all_of_them():
    prediction, score = remember(torch.randn(3, 2), torch.tensor([1, 1, 1]), 9).vote(
        torch.randn(2, 2), torch.tensor([8, 9])
    )
    assert prediction.tolist() == [1, 1] and torch.allclose(score, torch.ones(2))


def test_neighbour_metrics_are_identical_at_any_batch_size():
    memory = remember(torch.randn(60, 5), torch.randint(3, (60,)), 5)
    features, label, index = torch.randn(100, 5), torch.randint(3, (100,)), torch.arange(100, 200)

    def run(size):
        metrics = NeighbourMetrics(memory)
        for start in range(0, 100, size):
            stop = start + size
            metrics.update(features[start:stop], index[start:stop], label[start:stop])
        return metrics.compute(), metrics.intervals()

    assert run(1) == run(7) == run(64) == run(100)
    low, high = run(100)[1]["neighbour_accuracy"]
    assert low < run(100)[0]["neighbour_accuracy"] < high


def test_without_labels_only_the_rank_is_reported():
    metrics = NeighbourMetrics(None)
    assert metrics.update(torch.randn(9, 4), torch.arange(9), None) is None
    assert set(metrics.compute()) == {"effective_rank"} and metrics.intervals() == {}


def test_effective_rank_is_one_for_a_line_and_the_width_for_equal_directions():
    assert effective_rank(torch.ones(20, 1) * torch.randn(1, 6)) == pytest.approx(1, abs=1e-4)
    assert effective_rank(torch.eye(6).repeat(5, 1)) == pytest.approx(6, abs=1e-9)
    features = torch.randn(8, 12, dtype=torch.float64)
    values = torch.linalg.svdvals(features)
    shares = values / values.sum()
    assert effective_rank(features) == pytest.approx(float(torch.exp(-(shares * shares.log()).sum())), abs=1e-6)
    assert effective_rank(torch.zeros(5, 3)) == 1.0 and math.isnan(effective_rank(torch.full((2, 2), math.nan)))


def test_frechet_distance_agrees_with_scipy():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(60, 5, dtype=torch.float64, generator=generator)
    second = first[:40] @ torch.randn(5, 5, dtype=torch.float64, generator=generator) + 0.5
    means = (first.mean(0) - second.mean(0)).square().sum()
    s1, s2 = np.cov(first.T), np.cov(second.T)
    expected = float(means) + np.trace(s1 + s2 - 2 * scipy.linalg.sqrtm(s1 @ s2).real)
    assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-8)


def test_frechet_distance_of_a_set_to_itself_is_zero_and_of_a_shift_its_square():
    vectors = torch.randn(30, 4, dtype=torch.float64)
    assert frechet_distance(vectors, vectors) == pytest.approx(0, abs=1e-7)
    assert frechet_distance(vectors, vectors + torch.tensor([3.0, 0, 4.0, 0])) == pytest.approx(25, abs=1e-7)
    assert math.isnan(frechet_distance(vectors[:1], vectors))


def test_pixels_are_averaged_until_a_side_is_at_most_sixteen():
    assert pixel_features(torch.rand(2, 1, 8, 8)).shape == (2, 64)
    assert pixel_features(torch.rand(2, 1, 28, 28)).shape == (2, 14 * 14)
    assert torch.allclose(pixel_features(torch.full((1, 3, 33, 20), 0.3)), torch.tensor(0.3))


def test_the_distance_of_images_is_that_of_their_pixels():
    metrics = FrechetMetrics()
    real, fake = torch.rand(30, 1, 4, 4), torch.rand(30, 1, 4, 4) ** 2
    for rows in (slice(0, 7), slice(7, 30)):
        metrics.update(real[rows], fake[rows])
    assert metrics.compute() == {"pixel_frechet_distance": frechet_distance(real.flatten(1), fake.flatten(1))}
    assert metrics.intervals() == {} and metrics.table() == []
