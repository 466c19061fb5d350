"""Random resized crops: windows as torchvision draws them, pixels as torchvision resizes them."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as reference
from scipy import stats
from torchvision.transforms import RandomResizedCrop as Reference

from ptft.augmentation.augmentation import to_float
from ptft.augmentation.vision.random_resized_crop import RandomResizedCrop, cut_and_resize
from ptft.errors import ConfigError
from tests.augmentation.test_augmentations import batch_of, draws_for, pixels

COUNT = 4000


def windows_of(size, count=COUNT, **settings):
    return RandomResizedCrop(**settings).windows(torch.tensor(size).expand(count, 2), draws_for(count))


def windows_of_torchvision(size, count=COUNT, scale=(0.08, 1.0), ratio=(0.75, 1.3333333333)):
    image = torch.empty(1, *size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return np.array([Reference.get_params(image, scale, ratio) for _ in range(count)])


@pytest.mark.parametrize("size", [(32, 32), (375, 500), (500, 375)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.2, 0.5)])
def test_windows_are_spread_as_torchvisions(size, scale):
    ours = windows_of(size, scale_min=scale[0], scale_max=scale[1]).numpy()
    theirs = windows_of_torchvision(size, scale=scale)
    # Rounded to what float32 keeps: ratios of the same whole numbers are ties, not neighbours.
    measures = (
        lambda w: w[:, 2] * w[:, 3],
        lambda w: np.round(w[:, 3] / w[:, 2], 5),
        lambda w: w[:, 0],
        lambda w: w[:, 1],
    )
    for measure in measures:
        assert stats.ks_2samp(measure(ours), measure(theirs), method="asymp").pvalue > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (10, 400), (400, 10), (33, 32)])
def test_windows_lie_within_the_picture_and_are_whole_pixels(size):
    window = windows_of(size)
    assert window.dtype == torch.float32 and window.shape == (COUNT, 4) and torch.equal(window, window.round())
    assert bool((window[:, :2] >= 0).all()) and bool((window[:, 2:] >= 1).all())
    assert bool((window[:, :2] + window[:, 2:] <= torch.tensor(size)).all())


@pytest.mark.parametrize("size", [(10, 400), (400, 10), (8, 8)])
def test_the_middle_is_taken_where_no_window_fits(size):
    wide = {"scale": (1.0, 1.0), "ratio": (1.1, 1.2)}
    found = windows_of(size, 5, scale_min=1.0, scale_max=1.0, ratio_min=1.1, ratio_max=1.2)
    assert found.tolist() == windows_of_torchvision(size, 5, **wide).tolist()


def test_pictures_of_different_sizes_get_the_windows_they_would_get_alone():
    sizes = torch.tensor([[32, 32], [375, 500], [10, 400], [1, 1]]).repeat(10, 1)
    together = RandomResizedCrop().windows(sizes, draws_for(40))
    for place in range(4):
        alone = windows_of(sizes[place].tolist(), 40)
        assert torch.equal(together[place::4], alone[place::4])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (3, 32, 32)])
def test_windows_are_resized_as_torchvision_does(shape):
    image = pixels(40, shape)
    window = RandomResizedCrop().windows(torch.tensor(shape[1:]).expand(40, 2), draws_for(40))
    for picture, tolerance in ((image, 1), (to_float(image), 1e-5)):
        found = cut_and_resize(picture, window)
        assert found.dtype == picture.dtype
        for place, (top, left, height, width) in enumerate(window.int().tolist()):
            expected = reference.resized_crop(picture[place], top, left, height, width, list(shape[1:]), antialias=True)
            torch.testing.assert_close(found[place].float(), expected.float(), atol=tolerance, rtol=0)


def test_the_whole_picture_stays_as_it_is():
    image = pixels(41, (3, 9, 13))
    whole = RandomResizedCrop(scale_min=1.0, ratio_min=13 / 9, ratio_max=13 / 9)
    assert torch.equal(whole(batch_of(image), draws_for(41))["image"], image)


@pytest.mark.parametrize("name", ["scale", "ratio"])
def test_ranges_upside_down_are_refused(name):
    with pytest.raises(ConfigError, match=rf"{name}_min=0\.9 is above {name}_max=0\.8; swap them"):
        RandomResizedCrop(**{f"{name}_min": 0.9, f"{name}_max": 0.8})
