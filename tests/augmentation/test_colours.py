"""Colours, tones and blur against torchvision's functions, image by image: floats to 1e-5, bytes to one of 256."""

import pytest
import torch
import torchvision.transforms.v2.functional as reference

from ptft.augmentation.augmentation import to_float
from ptft.augmentation.vision.blur import GaussianBlur, blur
from ptft.augmentation.vision.colour import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from ptft.augmentation.vision.colour_jitter import ColourJitter
from ptft.augmentation.vision.grayscale import RandomGrayscale
from ptft.augmentation.vision.tone import adjust_sharpness, auto_contrast, equalize, posterize, solarize
from ptft.errors import ConfigError
from tests.augmentation.test_augmentations import batch_of, draws_for, pixels, random

SHAPES = [(1, 8, 8), (3, 9, 13)]


def varied(shape, count=12):
    """Images of all values, of a narrow range, of one value and of a few."""
    image = pixels(count, shape)
    image[1], image[2], image[3] = image[1] // 3 + 40, 77, image[3] // 60 * 60
    image[4, :, 3:] = 12
    return image


def each(function, image, *settings):
    rows = zip(image, *(values.tolist() for values in settings), strict=True)
    return torch.stack([function(*row) for row in rows])


COLOURS = [
    (adjust_brightness, reference.adjust_brightness, (0.0, 2.0)),
    (adjust_contrast, reference.adjust_contrast, (0.0, 2.0)),
    (adjust_saturation, reference.adjust_saturation, (0.0, 2.0)),
    (adjust_hue, reference.adjust_hue, (-0.5, 0.5)),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("ours", "theirs", "span"), COLOURS)
def test_colours_equal_torchvisions(shape, ours, theirs, span):
    image, factor = to_float(varied(shape)), random(12, low=span[0], high=span[1])
    torch.testing.assert_close(ours(image, factor), each(theirs, image, factor), atol=1e-5, rtol=0)


def test_a_whole_turn_of_the_hue_and_factors_of_one_change_nothing():
    image, one = to_float(varied((3, 9, 13))), torch.ones(12)
    for adjust in (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue):
        torch.testing.assert_close(adjust(image, one), image, atol=2e-6, rtol=0)


def test_grey_images_have_no_saturation_and_no_hue():
    image = to_float(varied((1, 8, 8)))
    still = ColourJitter(brightness=0, contrast=0, saturation=1.0, hue=0.5)
    assert torch.equal(still(batch_of(image), draws_for(12))["image"], image)


def test_jitter_applies_its_four_changes_in_order_with_factors_from_their_ranges():
    image, draws = varied((3, 9, 13), 40), draws_for(40)
    found = ColourJitter(brightness=0.3, contrast=1.5, saturation=0.2, hue=0.1)(batch_of(image), draws)["image"]
    expected = adjust_brightness(to_float(image), draws.uniform(0, low=0.7, high=1.3))
    expected = adjust_contrast(expected, draws.uniform(1, low=0.0, high=2.5))
    expected = adjust_saturation(expected, draws.uniform(2, low=0.8, high=1.2))
    torch.testing.assert_close(found, adjust_hue(expected, draws.uniform(3, low=-0.1, high=0.1)))


def test_large_batches_are_changed_in_pieces_without_a_difference():
    image = varied((3, 120, 130), 9)
    draws = draws_for(9)
    whole = ColourJitter()(batch_of(image), draws)["image"]
    one = ColourJitter()(batch_of(image[:1]), draws_for(1))["image"]
    assert torch.equal(whole[:1], one)


def test_grayscale_equals_torchvisions_for_the_chosen():
    image = varied((3, 9, 13), 4000)
    found = RandomGrayscale(probability=0.3)(batch_of(image), draws_for(4000))["image"]
    changed = (found != image).flatten(1).any(1)
    assert 0.27 < float(changed.float().mean()) < 0.33 and found.dtype == torch.uint8
    expected = reference.rgb_to_grayscale(image, num_output_channels=3)
    assert int((found[changed].int() - expected[changed].int()).abs().max()) <= 1  # rounded, where torchvision cuts off


TONES = [
    (posterize, reference.posterize, 0, torch.arange(12) % 9),
    (solarize, reference.solarize, 0, random(12, high=255.0)),
    (adjust_sharpness, reference.adjust_sharpness, 1, random(12, high=2.0)),
    (auto_contrast, reference.autocontrast, 1, None),
    (equalize, reference.equalize, 0, None),
]


@pytest.mark.parametrize("shape", [*SHAPES, (3, 2, 5)])
@pytest.mark.parametrize(("ours", "theirs", "tolerance", "strength"), TONES)
def test_tones_equal_torchvisions(shape, ours, theirs, tolerance, strength):
    settings = [] if strength is None else [strength]
    image = varied(shape)
    before = image.clone()
    found = ours(image, *settings)
    assert found.dtype == torch.uint8 and torch.equal(image, before)
    assert int((found.int() - each(theirs, image, *settings).int()).abs().max()) <= tolerance


@pytest.mark.parametrize("shape", SHAPES)
def test_blur_equals_torchvisions(shape):
    image, sigma = to_float(varied(shape)), random(12, low=0.1, high=2.0)
    expected = each(lambda one, by: reference.gaussian_blur(one, [7, 7], [by, by]), image, sigma)
    torch.testing.assert_close(blur(image, sigma, 3), expected, atol=1e-5, rtol=0)


def test_blur_happens_as_often_as_asked():
    image = pixels(2000)
    found = GaussianBlur(probability=0.3, sigma_min=1.0)(batch_of(image), draws_for(2000))["image"]
    assert 0.26 < float((found != to_float(image)).flatten(1).any(1).float().mean()) < 0.34
    with pytest.raises(ConfigError, match=r"sigma_min=3\.0 is above sigma_max=2\.0"):
        GaussianBlur(sigma_min=3.0)
