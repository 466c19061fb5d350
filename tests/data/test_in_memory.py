"""Images in memory: what setting up fits and refuses, and that batches are what a plain loop would make."""

import dataclasses

import numpy as np
import pytest
import torch

from ptft.augmentation.vision.flip import RandomFlip
from ptft.data.data_module import BatchPlan, DataSpec
from ptft.errors import ConfigError, DataError
from tests.data.images import Given, arrays, assert_same, joined, ready

# ---- Setting up


def test_statistics_are_those_of_the_training_split():
    content = arrays(channels=3)
    data = ready(content)
    rows = joined(list(data.evaluation_loaders(BatchPlan(batch_size=7))["train"]))["index"].numpy()
    pixels = content.images[rows] / 255
    np.testing.assert_allclose(data.spec.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.spec.std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_other_splits_do_not_reach_the_statistics():
    content = arrays()
    data = ready(content)
    changed = content.images.copy()
    for name in ("val", "test"):
        changed[joined(list(data.evaluation_loaders(BatchPlan(batch_size=9))[name]))["index"]] = 255
    other = ready(dataclasses.replace(content, images=changed))
    assert (other.spec.mean, other.spec.std) == (data.spec.mean, data.spec.std)
    assert other.spec.fingerprint != data.spec.fingerprint


def test_images_without_labels_still_count_for_the_statistics():
    few, whole = ready(label_fraction=0.05), ready()
    assert (few.spec.mean, few.spec.std) == (whole.spec.mean, whole.spec.std)
    assert (few.num_examples, whole.num_examples) == (4, 80)


def test_a_constant_channel_is_only_centred():
    content = arrays(channels=2)
    content.images[:, 1] = 51
    data = ready(content)
    assert (data.spec.mean[1], data.spec.std[1]) == (pytest.approx(0.2), 1.0)
    assert torch.isfinite(next(data.train_loader(BatchPlan(batch_size=8)))["image"]).all()


def test_a_specification_is_kept_but_for_the_fingerprint():
    own = ready().spec
    given = dataclasses.replace(own, mean=(0.25,), std=(2.0,), fingerprint="that of another machine")
    data = ready(spec=given)
    assert data.spec == dataclasses.replace(given, fingerprint=own.fingerprint)
    batch = next(data.train_loader(BatchPlan(batch_size=8)))
    pixels = torch.from_numpy(data.content.images[batch["index"]]) / 255
    torch.testing.assert_close(batch["image"], (pixels - 0.25) / 2.0)
    assert DataSpec.from_json(data.spec.to_json()) == data.spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"classes": ("a", "b")},
            r"`class 0`, .* missing in the model, `a`, `b` missing in the data \(2 and 4 classes\)",
        ),
        ({"shape": (3, 6, 6)}, r"made for shape \(3, 6, 6\), the data have \(1, 6, 6\)"),
        ({"kind": "text"}, "made for kind text"),
        ({"mean": ()}, "expected mean and std of 1 channels"),
    ],
)
def test_a_specification_that_does_not_fit_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        ready(spec=dataclasses.replace(ready().spec, **change))


def test_every_example_comes_once_whatever_the_split_and_the_labels_kept():
    data = ready(label_fraction=0.2)
    shares = [
        torch.cat([batch["index"] for batch in data.every_example(BatchPlan(batch_size=7, rank=rank, world=2))])
        for rank in (0, 1)
    ]
    assert torch.cat(shares).sort()[0].tolist() == list(range(100))
    assert sum(len(batch["index"]) for batch in data.evaluation_loaders(BatchPlan(batch_size=7))["train"]) < 20


def test_the_fingerprint_sees_pixels_labels_and_splits_but_not_augmentation():
    content = arrays()
    images, labels = content.images.copy(), content.labels.copy()
    images[3, 0, 2, 2] ^= 1
    labels[[0, 1]] = labels[[1, 0]]
    same = [ready(content), ready(arrays()), ready(content, [RandomFlip()], num_workers=2)]
    others = [
        ready(dataclasses.replace(content, images=images)),
        ready(dataclasses.replace(content, labels=labels)),
        ready(dataclasses.replace(content, classes=("a", "b", "c", "d"))),
        ready(content, split={"seed": 1}),
        ready(content, label_fraction=0.5),
    ]
    assert len({data.spec.fingerprint for data in same}) == 1
    assert len({data.spec.fingerprint for data in (same[0], *others)}) == 6
    assert len(same[0].spec.fingerprint) == 64


def empty(content):
    return dataclasses.replace(content, images=content.images[:0], labels=content.labels[:0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, "holds no images"),
        (lambda c: dataclasses.replace(c, images=c.images[:, :, :0]), "holds no images"),
        (lambda c: dataclasses.replace(c, images=c.images / 255), "of uint8, found .* of float64"),
        (lambda c: dataclasses.replace(c, images=c.images[:, 0]), r"expected images \(N, C, H, W\)"),
        (lambda c: dataclasses.replace(c, labels=c.labels[1:]), "one label for each of 100 images"),
        (lambda c: dataclasses.replace(c, labels=c.labels + 0.5), "whole numbers, found float64"),
        (lambda c: dataclasses.replace(c, labels=c.labels.astype(str)), "whole numbers, found <U"),
        (lambda c: dataclasses.replace(c, labels=c.labels - 1), "from 0 to 3, found -1 at example 0 .25 such"),
        (lambda c: dataclasses.replace(c, labels=c.labels + 1), "from 0 to 3, found 4 at example 3"),
        (lambda c: dataclasses.replace(c, labels=c.labels * 0), "all 100 labels are `class 0`"),
        (lambda c: dataclasses.replace(c, num_test=100), "data.split.val takes 0 of 0"),
        (lambda c: dataclasses.replace(c, images=c.images[:3], labels=c.labels[:3]), "data.split.test takes 0 of 3"),
    ],
)
def test_bad_data_are_refused_with_the_reason(spoil, message):
    with pytest.raises(DataError, match=message):
        ready(spoil(arrays()))


def test_a_class_without_training_examples_is_named():
    content = arrays(num_test=20)
    content.labels[:80] = np.arange(80) % 3
    with pytest.raises(DataError, match="no training example of class 3"):
        ready(content)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_a_label_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ConfigError, match="label_fraction takes a share above 0"):
        Given(arrays(), label_fraction=fraction)


def test_evaluation_splits_do_not_feel_the_label_fraction():
    few, whole = ready(label_fraction=0.05), ready()
    for name in ("val", "test"):
        plan = BatchPlan(batch_size=4)
        assert_same(*(joined(list(data.evaluation_loaders(plan)[name])) for data in (few, whole)))


def test_the_description_is_one_line():
    assert ready().describe() == "given: 80 train, 10 val, 10 test; 1x6x6, 4 classes"
    assert ready(label_fraction=0.05).describe().startswith("given: 4 train, 10 val, 10 test (label_fraction=0.05);")


def test_groups_are_refused_where_nothing_names_them():
    with pytest.raises(ConfigError, match=r"data\.split\.group=x: these data have neither names of files nor columns"):
        Given(arrays(), split={"group": "x"})
