"""Mixup, CutMix, erasing: pixels and labels shared out alike, partners that are draws, torchvision's rectangles."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomErasing as Reference

from ptft.augmentation.augmentation import to_float
from ptft.augmentation.vision.cutmix import CutMix
from ptft.augmentation.vision.mixing import pair
from ptft.augmentation.vision.mixup import Mixup
from ptft.augmentation.vision.random_erasing import RandomErasing
from ptft.errors import ConfigError
from ptft.runtime.random import Draws
from tests.augmentation.test_augmentations import draws_for, pixels


def labelled(count, shape=(3, 9, 13), image=None):
    image = pixels(count, shape) if image is None else image
    return {"image": image, "label": torch.arange(count) * 10, "index": torch.arange(count)}


# ---- Partners


def test_the_partners_of_a_batch_are_one_circle():
    partner = pair(labelled(50), draws_for(50), 0, 1.0).partner.tolist()
    place, seen = 0, []
    for _ in range(50):
        seen.append(place)
        place = partner[place]
    assert sorted(seen) == list(range(50)) and place == 0


def test_every_other_image_is_as_likely_a_partner():
    counts = torch.zeros(6, 6)
    for epoch in range(2000):
        counts[torch.arange(6), pair(labelled(6), draws_for(6, epoch), 0, 1.0).partner] += 1
    assert not counts.diagonal().any()
    rest = counts[~torch.eye(6, dtype=torch.bool)]
    assert abs(float(((rest - 400) ** 2 / 400).sum()) - 30) < 5 * np.sqrt(60)


def test_partners_follow_the_examples_not_their_places():
    turned = torch.arange(20).roll(7)
    straight = pair(labelled(20), draws_for(20), 0, 1.0).partner
    index = torch.arange(20)[turned]
    other = pair(labelled(20), Draws(0, torch.zeros(20, dtype=torch.int64), index), 0, 1.0).partner
    assert torch.equal(index[other], straight[index])


@pytest.mark.parametrize("make", [Mixup, CutMix])
def test_a_single_image_is_mixed_with_itself(make):
    batch = labelled(1)
    found = make()(batch, draws_for(1))
    torch.testing.assert_close(to_float(found["image"]), to_float(batch["image"]))
    assert torch.equal(found["partner_label"], batch["label"])


# ---- Shares


@pytest.mark.parametrize("make", [Mixup, CutMix])
def test_the_share_of_the_label_is_that_of_the_pixels(make):
    # Each image has one value of its own, so that any pixel tells whose it is.
    count, shape = 200, (3, 9, 13)
    image = (torch.arange(count, dtype=torch.float32) / 256)[:, None, None, None].expand(count, *shape)
    found = make()(labelled(count, image=image), draws_for(count))
    partner = found["partner_label"] // 10
    difference = (partner - torch.arange(count)) / 256
    share = 1 - (found["image"] - image).mean((1, 2, 3)) / difference
    torch.testing.assert_close(share, found["label_share"], atol=1e-4, rtol=0)
    if make is CutMix:
        own = (found["image"] == image)[:, 0].sum((1, 2))
        assert torch.equal(found["label_share"], 1 - (9 * 13 - own) / (9 * 13))


def test_mixup_blends_with_the_partner_by_the_share():
    batch = labelled(40)
    found = Mixup(alpha=1.0)(batch, draws_for(40))
    partner, share = found["partner_label"] // 10, found["label_share"][:, None, None, None]
    expected = to_float(batch["image"]) * share + to_float(batch["image"])[partner] * (1 - share)
    torch.testing.assert_close(found["image"], expected)
    assert found["label"] is batch["label"] and found["label_share"].dtype == torch.float32


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_of_mixup_are_spread_as_the_beta_distribution(alpha):
    share = Mixup(alpha=alpha)(labelled(20_000, (1, 1, 1)), draws_for(20_000))["label_share"].double().numpy()
    places = np.linspace(0.001, 0.999, 999)  # float32 rounds some shares to 1, where the density has no bound
    below = np.searchsorted(np.sort(share), places, side="right") / len(share)
    assert np.abs(below - stats.beta(alpha, alpha).cdf(places)).max() < 1.95 / np.sqrt(len(share))  # Kolmogorov, 0.1%
    assert abs(share.mean() - 0.5) < 0.01 and abs(share.var() - 1 / (4 * (2 * alpha + 1))) < 0.004


def test_cutmix_pastes_one_rectangle_of_the_partner_and_keeps_bytes():
    batch = labelled(60)
    image = batch["image"]
    found = CutMix()(batch, draws_for(60))
    partner = found["partner_label"] // 10
    assert found["image"].dtype == torch.uint8
    for place in range(60):
        other = (found["image"][place] != image[place]).any(0)
        rows, columns = other.any(1).nonzero()[:, 0], other.any(0).nonzero()[:, 0]
        if len(rows):
            window = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
            assert torch.equal(found["image"][place][window], image[partner[place]][window])
            other[window[1:]] = False
            assert not other.any()


def test_cutmix_covers_as_much_as_the_beta_distribution_says_where_the_edge_is_far():
    # The centre may be anywhere: of a rectangle of half a side, 9/16 lie inside on average.
    shares = 1 - CutMix(alpha=500.0)(labelled(4000, (1, 32, 32)), draws_for(4000))["label_share"]
    side = int(32 * np.sqrt(0.5)) / 32
    assert abs(float(shares.mean()) - (side - side**2 / 4) ** 2) < 0.01


@pytest.mark.parametrize("first", [Mixup(probability=0.5), CutMix(probability=0.5)])
@pytest.mark.parametrize("second", [Mixup(), CutMix()])
def test_no_image_is_mixed_twice(first, second):
    batch, draws = labelled(400), draws_for(400)
    once = first(batch, draws.child("first"))
    twice = second(once, draws.child("second"))
    done = once["label_share"] < 1
    assert 100 < int(done.sum()) < 250
    for name in ("label_share", "partner_label"):
        assert torch.equal(twice[name][done], once[name][done])
    torch.testing.assert_close(to_float(twice["image"])[done], to_float(once["image"])[done], atol=0, rtol=0)
    partners = twice["partner_label"][~done] // 10
    assert not done[partners].any() and bool((twice["label_share"][~done] < 1).float().mean() > 0.8)


# ---- Erasing


def rectangles(shape, count=4000, **settings):
    step = RandomErasing(probability=1.0, **settings)
    return torch.stack(step.rectangles(torch.empty(count, *shape), draws_for(count)), 1).numpy()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 24, 60)])
def test_rectangles_are_spread_as_torchvisions(shape):
    ours = rectangles(shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = [Reference.get_params(torch.empty(shape), (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(4000)]
    theirs = np.array(found)
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column], method="asymp").pvalue > 1e-3
    assert bool((ours[:, 2] < shape[1]).all()) and bool((ours[:, 3] < shape[2]).all())


@pytest.mark.parametrize("convert", [torch.clone, to_float])
@pytest.mark.parametrize("fill", ["noise", "mean", "black"])
def test_what_is_erased_is_filled_as_asked(fill, convert):
    image, draws = convert(pixels(50, (3, 24, 20))), draws_for(50)
    step = RandomErasing(probability=0.5, fill=fill)
    found = step(labelled(50, image=image), draws)["image"]
    assert found.dtype == image.dtype
    erased = 0
    for place, (top, left, high, wide) in enumerate(zip(*step.rectangles(image, draws), strict=True)):
        window = (slice(None), slice(top, top + high), slice(left, left + wide))
        part, rest = found[place][window], found[place].clone()
        rest[window] = image[place][window]
        assert torch.equal(rest, image[place])
        erased += int(high > 0)
        if fill == "black":
            assert not part.any()
        elif fill == "mean" and part.numel():
            mean = image[place].float().mean((1, 2))
            assert float((part.float() - mean[:, None, None]).abs().max()) <= (
                0.5 if part.dtype == torch.uint8 else 1e-5
            )
    assert 15 <= erased <= 35


def test_noise_is_any_byte_about_equally_often():
    white = torch.full((400, 3, 32, 32), 255, dtype=torch.uint8)
    step = RandomErasing(probability=1.0, scale_min=0.3, scale_max=0.33)
    noise = step(labelled(400, image=white), draws_for(400))["image"].flatten()
    counts = torch.bincount(noise.long(), minlength=256)[:255].double()
    mean = counts.mean()
    assert float(mean) > 1000 and abs(float(((counts - mean) ** 2 / mean).sum()) - 254) < 5 * np.sqrt(508)


def test_ranges_upside_down_are_refused():
    with pytest.raises(ConfigError, match=r"scale_min=0\.9 is above scale_max=0\.33"):
        RandomErasing(scale_min=0.9)
