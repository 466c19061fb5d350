"""A small data set in memory and what tests do with its batches."""

import itertools

import numpy as np
import torch

from ptft.data.image_arrays import ImageArrays
from ptft.data.in_memory import InMemoryImages


def arrays(count=100, classes=4, channels=1, side=6, seed=0, num_test=0):
    generator = np.random.default_rng(seed)
    return ImageArrays(
        generator.integers(0, 256, (count, channels, side, side), dtype=np.uint8),
        np.arange(count) % classes,
        tuple(f"class {number}" for number in range(classes)),
        num_test,
    )


class Given(InMemoryImages):
    """The arrays given."""

    title = "given"

    def __init__(self, content, augmentations=(), **settings):
        super().__init__(augmentations, **settings)
        self.content = content

    def read(self):
        return self.content


def ready(content=None, augmentations=(), spec=None, **settings):
    data = Given(content or arrays(), augmentations, **settings)
    data.setup(spec)
    return data


def take(batches, count):
    found = list(itertools.islice(batches, count))
    batches.close()
    return found


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def joined(batches):
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
