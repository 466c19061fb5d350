"""Augmentations against torchvision's functions, image by image, and for what all of them must keep."""

import math

import pytest
import torch
import torchvision.transforms.functional as reference
from torchvision.transforms import InterpolationMode

from ptft.augmentation.augmentation import to_float
from ptft.augmentation.vision.affine import RandomAffine, affine
from ptft.augmentation.vision.blur import GaussianBlur
from ptft.augmentation.vision.colour_jitter import ColourJitter
from ptft.augmentation.vision.crop import RandomCrop, crop
from ptft.augmentation.vision.cutmix import CutMix
from ptft.augmentation.vision.cutout import Cutout, cut
from ptft.augmentation.vision.flip import RandomFlip, flip
from ptft.augmentation.vision.grayscale import RandomGrayscale
from ptft.augmentation.vision.intensity import RandomIntensity, intensity
from ptft.augmentation.vision.mixup import Mixup
from ptft.augmentation.vision.noise import GaussianNoise
from ptft.augmentation.vision.rand_augment import RandAugment
from ptft.augmentation.vision.random_erasing import RandomErasing
from ptft.augmentation.vision.random_resized_crop import RandomResizedCrop
from ptft.errors import ConfigError
from ptft.runtime.random import Draws

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 9, 13)]
ALONE = [
    RandomAffine, RandomCrop, Cutout, RandomFlip, RandomIntensity, GaussianNoise, RandomResizedCrop, ColourJitter,
    GaussianBlur, RandAugment, RandomErasing,
]  # fmt: skip
"""Those that look at each image alone; colours are tried on shapes of three channels, where they do something."""
ALL = [*ALONE, Mixup, CutMix]


def pixels(count=41, shape=(1, 8, 8)):
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def batch_of(image):
    return {"image": image, "index": torch.arange(len(image)), "label": torch.zeros(len(image), dtype=torch.int64)}


def draws_for(count, epoch=0):
    return Draws(0, torch.full((count,), epoch), torch.arange(count))


def random(*shape, low=0.0, high=1.0, seed=2):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * (high - low) + low


# ---- Each against a reference


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [1, 2, 5])
@pytest.mark.parametrize("convert", [torch.clone, to_float, lambda x: x.contiguous(memory_format=torch.channels_last)])
def test_crop_equals_padding_and_cropping_each_image(shape, padding, convert):
    image = convert(pixels(shape=shape))
    offset = torch.randint(0, 2 * padding + 1, (len(image), 2), generator=torch.Generator().manual_seed(3))
    offset[:2] = torch.tensor([[0, 0], [2 * padding, 2 * padding]])
    expected = [
        reference.crop(reference.pad(one, [padding]), top, left, *shape[1:])
        for one, (top, left) in zip(image, offset.tolist(), strict=True)
    ]
    assert torch.equal(crop(image, offset, padding), torch.stack(expected))


def test_crop_in_the_middle_changes_nothing():
    image = pixels()
    assert torch.equal(crop(image, torch.full((len(image), 2), 3), 3), image)
    assert RandomCrop(padding=0)(batch_of(image), draws_for(len(image)))["image"] is image


def test_crop_takes_every_offset_about_equally_often():
    count, padding = 5000, 2
    image = torch.zeros(count, 1, 5, 5, dtype=torch.uint8)
    image[:, 0, 2, 2] = 255
    moved = RandomCrop(padding=padding)(batch_of(image), draws_for(count))["image"]
    counts = (moved > 0).sum(0).flatten().double()
    assert counts.sum() == count
    assert float(((counts - 200) ** 2 / 200).sum()) < 24 + 5 * math.sqrt(48)


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_mirrors_the_chosen_images(shape):
    image, mirrored = pixels(shape=shape), torch.arange(41) % 3 == 0
    expected = [reference.hflip(one) if chosen else one for one, chosen in zip(image, mirrored, strict=True)]
    assert torch.equal(flip(image, mirrored), torch.stack(expected))


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.3, 0.26, 0.34), (1.0, 1, 1)])
def test_flip_happens_as_often_as_asked(probability, low, high):
    image = torch.tensor([[0, 255]], dtype=torch.uint8).expand(4000, 1, 1, 2)
    moved = RandomFlip(probability=probability)(batch_of(image), draws_for(4000))["image"]
    assert low <= float((moved[:, 0, 0, 0] > 0).float().mean()) <= high


@pytest.mark.parametrize("shape", SHAPES)
def test_affine_equals_torchvision_for_the_same_parameters(shape):
    image = to_float(pixels(9, shape))
    degrees, scale = random(9, low=-45, high=45), random(9, low=0.7, high=1.4, seed=3)
    pixels_moved = torch.randint(-3, 4, (9, 2), generator=torch.Generator().manual_seed(4))
    sides = torch.tensor([shape[2], shape[1]])
    ours = affine(image, torch.deg2rad(degrees), scale, pixels_moved / sides)
    for place, one in enumerate(image):
        # torchvision counts the angle clockwise.
        expected = reference.affine(
            one[None],
            angle=-float(degrees[place]),
            translate=pixels_moved[place].tolist(),
            scale=float(scale[place]),
            shear=[0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(ours[place], expected[0], atol=2e-4, rtol=0)


def test_affine_without_range_changes_nothing():
    image = pixels(5)
    still = RandomAffine(degrees=0, scale_min=1, scale_max=1, shift=0)
    torch.testing.assert_close(still(batch_of(image), draws_for(5))["image"], to_float(image), atol=1e-5, rtol=0)


def test_affine_refuses_a_range_of_scales_upside_down():
    with pytest.raises(ConfigError, match=r"scale_min=1\.5 is above scale_max=1\.25"):
        RandomAffine(scale_min=1.5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13)])
def test_intensity_equals_torchvision_for_the_same_parameters(shape):
    image = to_float(pixels(9, shape))
    brightness, contrast = random(9, low=0.5, high=1.5), random(9, low=0.5, high=1.5, seed=3)
    ours = intensity(image, brightness, contrast)
    for place, one in enumerate(image):
        bright = reference.adjust_brightness(one, float(brightness[place]))
        expected = reference.adjust_contrast(bright, float(contrast[place]))
        torch.testing.assert_close(ours[place], expected, atol=1e-5, rtol=0)


def test_noise_has_the_deviation_asked_for_and_stays_in_range():
    grey = torch.full((500, 1, 8, 8), 0.5)
    noise = GaussianNoise(std=0.05)(batch_of(grey), draws_for(500))["image"] - 0.5
    assert abs(float(noise.std()) - 0.05) < 0.001 and abs(float(noise.mean())) < 0.001
    assert len(noise[0].unique()) > 50  # each pixel draws for itself
    wild = GaussianNoise(std=1.0)(batch_of(grey), draws_for(500))["image"]
    assert float(wild.min()) == 0 and float(wild.max()) == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("convert", [torch.clone, to_float])
def test_cut_blackens_the_square_and_nothing_else(shape, convert):
    image = convert(pixels(7, shape) | 1)
    top, left, side = torch.tensor([-2, 0, 3, 7, 1, 5, 0]), torch.tensor([0, -1, 2, 6, 7, 7, 0]), torch.arange(7)
    expected = image.clone()
    for place in range(7):
        rows = slice(max(0, int(top[place])), max(0, int(top[place] + side[place])))
        columns = slice(max(0, int(left[place])), max(0, int(left[place] + side[place])))
        expected[place, :, rows, columns] = 0
    assert torch.equal(cut(image, top, left, side), expected)


def test_cutout_happens_as_often_as_asked():
    white = torch.full((4000, 1, 8, 8), 255, dtype=torch.uint8)
    holes = (Cutout(size=0.25, probability=0.3)(batch_of(white), draws_for(4000))["image"] == 0).sum((1, 2, 3))
    assert abs(float((holes > 0).float().mean()) - 0.3) < 0.04
    assert set(holes.tolist()) <= {0, 1, 2, 4}  # 2x2, cut off by edges


# ---- What all of them keep


@pytest.mark.parametrize("make", [*ALONE, RandomGrayscale])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("convert", [torch.clone, to_float])
def test_the_result_does_not_depend_on_how_the_batch_is_cut(make, shape, convert):
    image, index = convert(pixels(shape=shape)), torch.arange(41)

    def run(rows):
        batch = {"image": image[rows], "index": index[rows]}
        return make()(batch, Draws(0, index[rows] // 20, index[rows]))["image"]

    whole = run(index)
    for size in (1, 2, 7, 16, 40):
        assert torch.equal(torch.cat([run(rows) for rows in index.split(size)]), whole)


@pytest.mark.parametrize(
    ("make", "shape"), [*((make, (1, 8, 8)) for make in ALL), *((make, (3, 9, 13)) for make in [*ALL, RandomGrayscale])]
)
@pytest.mark.parametrize("convert", [torch.clone, to_float])
def test_the_batch_given_stays_as_it_is_and_shapes_and_ranges_are_kept(make, shape, convert):
    image = convert(pixels(shape=shape))
    before, batch = image.clone(), batch_of(image)
    result = make()(batch, draws_for(41))
    assert torch.equal(image, before) and batch["image"] is image
    assert result["image"].shape == image.shape and result["label"] is batch["label"]
    changed = result["image"]
    assert changed.dtype == torch.uint8 or (float(changed.min()) >= 0 and float(changed.max()) <= 1 + 1e-6)
    assert not torch.equal(to_float(changed), to_float(image))


@pytest.mark.parametrize("make", [*ALL, RandomGrayscale])
@pytest.mark.parametrize("convert", [torch.clone, to_float])
def test_the_layout_in_memory_changes_nothing(make, convert):
    image = convert(pixels(17, (3, 9, 13)))
    batches = [batch_of(image), batch_of(image.contiguous(memory_format=torch.channels_last))]
    first, second = (make()(batch, draws_for(17))["image"].float() for batch in batches)
    torch.testing.assert_close(first, second, atol=1.0 if image.dtype == torch.uint8 else 1e-5, rtol=0)


@pytest.mark.parametrize("make", [*ALL, RandomGrayscale])
def test_another_epoch_gives_another_result_and_the_same_epoch_the_same(make):
    batch = batch_of(pixels(shape=(3, 8, 8)))
    first, again, later = (make()(batch, draws_for(41, epoch))["image"] for epoch in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, later)


@pytest.mark.parametrize("make", [*ALL, RandomGrayscale])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 2), (3, 2, 1)])
@pytest.mark.parametrize("convert", [torch.clone, to_float])
def test_the_smallest_images_pass(make, shape, convert):
    assert make()(batch_of(convert(pixels(3, shape))), draws_for(3))["image"].shape == (3, *shape)


@pytest.mark.parametrize(
    "make", [RandomFlip, Cutout, ColourJitter, RandomGrayscale, GaussianBlur, RandomErasing, Mixup, CutMix]
)
def test_a_probability_of_zero_changes_nothing(make):
    image = pixels(5, (3, 9, 13))
    found = make(probability=0.0)(batch_of(image), draws_for(5))
    torch.testing.assert_close(to_float(found["image"]), to_float(image), atol=2e-6, rtol=0)
    assert found.get("label_share", torch.ones(5)).tolist() == [1.0] * 5


def test_floats_are_bytes_over_255():
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_float(values), values.float() / 255)
    floats = torch.rand(3)
    assert to_float(floats) is floats
