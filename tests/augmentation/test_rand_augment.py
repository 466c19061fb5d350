"""RandAugment: its movements against torchvision's, and how often and how strongly it does what."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torchvision.transforms import InterpolationMode

from ptft.augmentation.vision import rand_augment
from ptft.augmentation.vision.rand_augment import SHIFT, RandAugment, move
from ptft.augmentation.vision.tone import posterize, solarize
from ptft.errors import ConfigError
from tests.augmentation.test_augmentations import batch_of, draws_for, pixels, random

NAMES = RandAugment().operations


def affine(image, **changes):
    settings = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | changes
    return reference.affine(image.float(), interpolation=InterpolationMode.BILINEAR, **settings)


MOVES = {
    "rotate": lambda image, by: affine(image, angle=30 * by),
    "shear_x": lambda image, by: affine(image, shear=[math.degrees(math.atan(0.3 * by)), 0.0], center=[0, 0]),
    "shear_y": lambda image, by: affine(image, shear=[0.0, math.degrees(math.atan(0.3 * by))], center=[0, 0]),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 19, 23)])
def test_rotations_and_shears_equal_torchvisions(name, shape):
    image, strength = pixels(9, shape), random(9, low=-1, high=1)
    found = move(image, rand_augment._matrices([name] * 9, strength, *shape[1:]))
    expected = torch.stack([MOVES[name](one, by) for one, by in zip(image, strength.tolist(), strict=True)])
    assert float((found.float() - expected).abs().max()) <= 0.51  # rounded


@pytest.mark.parametrize(("name", "dimension"), [("shift_x", 2), ("shift_y", 1)])
def test_shifts_are_shares_of_the_side_and_bring_in_black(name, dimension):
    image = pixels(2, (3, 20, 20))
    found = move(image, rand_augment._matrices([name] * 2, torch.tensor([5 / 20, -5 / 20]) / SHIFT, 20, 20))
    kept = image[0].narrow(dimension, 5, 15)
    assert torch.equal(found[0].narrow(dimension, 0, 15), kept) and not found[0].narrow(dimension, 15, 5).any()
    assert torch.equal(found[1].narrow(dimension, 5, 15), image[1].narrow(dimension, 0, 15))
    assert not found[1].narrow(dimension, 0, 5).any()


@pytest.mark.parametrize("name", NAMES)
def test_without_strength_only_the_histogram_changes(name):
    image = pixels(6, (3, 9, 13))
    still = RandAugment(magnitude=0, operations=(name,))(batch_of(image), draws_for(6))["image"]
    assert torch.equal(still, image) or name in ("auto_contrast", "equalize")


def test_full_strength_is_as_documented():
    image, draws = pixels(6, (3, 9, 13)), draws_for(6)
    full = {name: RandAugment(num_operations=1, magnitude=30, operations=(name,)) for name in NAMES}
    assert torch.equal(full["solarize"](batch_of(image), draws)["image"], solarize(image, torch.zeros(6)))
    assert torch.equal(full["posterize"](batch_of(image), draws)["image"], posterize(image, torch.full((6,), 4)))
    mean, brightened = image.float().mean((1, 2, 3)), full["brightness"](batch_of(image), draws)["image"]
    ratio = brightened.float().mean((1, 2, 3)) / mean
    assert set((ratio < 1).tolist()) == {True, False} and bool(((ratio < 0.11) | (ratio > 1.2)).all())


def test_every_operation_is_drawn_about_equally_often_in_both_directions():
    seen = []

    class Spy(RandAugment):
        def _turn(self, image, names, signs):
            seen.extend(zip(names, signs.tolist(), strict=True))
            return image

    Spy()(batch_of(pixels(7000, (1, 2, 2))), draws_for(7000))
    counts = torch.tensor([[seen.count((name, sign)) for sign in (-1, 1)] for name in NAMES])
    expected = 14_000 / counts.numel()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert int(counts.sum()) == 14_000 and chi_square < 27 + 5 * math.sqrt(54)


def test_turns_follow_each_other():
    image, draws = pixels(8, (3, 9, 13)), draws_for(8)
    twice = RandAugment(num_operations=2, operations=("equalize",))(batch_of(image), draws)["image"]
    once = RandAugment(num_operations=1, operations=("equalize",))
    assert torch.equal(twice, once(once(batch_of(image), draws), draws)["image"])


def test_no_operations_are_refused():
    with pytest.raises(ConfigError, match="operations is empty"):
        RandAugment(operations=())
