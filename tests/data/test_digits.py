"""The bundled digits: scikit-learn's, in bytes."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ptft.data.data_module import BatchPlan
from ptft.data.vision.digits import Digits
from ptft.errors import ConfigError


def ready(**settings):
    data = Digits([], **settings)
    data.setup()
    return data


def test_digits_are_scikit_learns_and_lose_nothing_as_bytes():
    arrays, reference = Digits([]).read(), load_digits()
    assert arrays.images.shape == (1797, 1, 8, 8) and arrays.images.dtype == np.uint8
    assert (np.rint(arrays.images[:, 0] / 255 * 16) == reference.images).all()
    assert np.abs(arrays.images[:, 0] / 255 - reference.images / 16).max() <= 0.5 / 255
    assert (arrays.labels == reference.target).all()
    assert arrays.classes == tuple("0123456789")


def test_a_path_that_would_not_be_read_is_refused():
    with pytest.raises(ConfigError, match="come with scikit-learn"):
        ready(path="my/digits")


def test_splits_have_the_documented_sizes():
    assert ready().describe() == "digits: 1,437 train, 180 val, 180 test; 1x8x8, 10 classes"
    assert ready().num_examples == 1437


def test_three_labels_a_class_can_be_asked_for():
    data = ready(label_fraction=0.02088)
    labels = torch.cat([batch["label"] for batch in data.evaluation_loaders(BatchPlan(batch_size=8))["train"]])
    assert torch.bincount(labels).tolist() == [3] * 10


def test_no_image_lies_in_two_splits():
    data = ready()
    images = Digits([]).read().images
    contents = []
    for loader in data.evaluation_loaders(BatchPlan(batch_size=500)).values():
        contents.append({images[row].tobytes() for batch in loader for row in batch["index"].tolist()})
    assert not any(first & second for first, second in itertools.combinations(contents, 2))


def test_training_pixels_are_normalised():
    pixels = torch.cat([batch["image"] for batch in ready().evaluation_loaders(BatchPlan(batch_size=500))["train"]])
    assert abs(float(pixels.mean())) < 1e-5 and abs(float(pixels.std()) - 1) < 1e-4


def test_the_data_are_those_of_every_machine_and_version():
    # Stored: runs of one version can be evaluated and resumed by another.
    assert ready().spec.fingerprint == "aeadcee62349778eaab1d3902351e329cc4bf0ebfd9bd1cee9bfa9c5a9ef3ba1"
