"""Batches: each example as often as it should come, the same values however they are made."""

import dataclasses
import itertools
import threading
from collections import Counter

import pytest
import torch

from ptft.augmentation.vision.affine import RandomAffine
from ptft.augmentation.vision.crop import RandomCrop
from ptft.augmentation.vision.flip import RandomFlip
from ptft.augmentation.vision.noise import GaussianNoise
from ptft.data import image_batches
from ptft.data.data_module import BatchPlan
from ptft.runtime.random import stream_indices
from tests.data.images import arrays, assert_same, joined, ready, take

# ---- Evaluation


@pytest.mark.parametrize("batch_size", [1, 7, 80, 1000])
def test_each_example_is_evaluated_once_in_order_without_augmentation(batch_size):
    data = ready(augmentations=[RandomAffine()])
    loaders = data.evaluation_loaders(BatchPlan(batch_size=batch_size))
    assert list(loaders) == ["train", "val", "test"]
    indices = []
    for loader in loaders.values():
        batches = list(loader)
        assert len(batches) == len(loader)
        assert all(len(batch["label"]) == batch_size for batch in batches[:-1])
        whole = joined(batches)
        assert (whole["index"].diff() > 0).all()
        pixels = torch.from_numpy(data.content.images[whole["index"]]) / 255
        expected = (pixels - data.spec.mean[0]) / data.spec.std[0]
        torch.testing.assert_close(whole["image"], expected)
        assert whole["label"].tolist() == data.content.labels[whole["index"]].tolist()
        indices += whole["index"].tolist()
    assert sorted(indices) == list(range(100))


def test_a_loader_can_be_gone_through_again():
    loader = ready().evaluation_loaders(BatchPlan(batch_size=3))["val"]
    for first, second in zip(loader, loader, strict=True):
        assert_same(first, second)


@pytest.mark.parametrize("count", [10, 11, 12, 13])
@pytest.mark.parametrize("world", [1, 2, 3, 11])
def test_processes_share_an_evaluation_without_seeing_an_example_twice(count, world):
    data = ready(arrays(count=count + 40, num_test=count))
    seen = Counter()
    for rank in range(world):
        for batch in data.evaluation_loaders(BatchPlan(batch_size=2, rank=rank, world=world))["test"]:
            seen.update(batch["index"].tolist())
    assert seen == Counter(range(40, 40 + count))


# ---- Training


def test_a_plain_batch_is_what_a_loop_over_the_examples_makes():
    data = ready(arrays(channels=3))
    rows = joined(list(data.evaluation_loaders(BatchPlan(batch_size=7))["train"]))["index"]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.spec.mean, data.spec.std))
    for step, batch in enumerate(take(data.train_loader(BatchPlan(batch_size=32, seed=5)), 10)):
        places, _ = stream_indices(step, 32, 80, 5)
        for position, place in enumerate(places.tolist()):
            row = int(rows[place])
            assert int(batch["index"][position]) == row
            assert int(batch["label"][position]) == data.content.labels[row]
            expected = (torch.from_numpy(data.content.images[row]) / 255 - mean) / std
            torch.testing.assert_close(batch["image"][position], expected)


def test_each_epoch_holds_each_training_example_once_in_another_order():
    batches = take(ready().train_loader(BatchPlan(batch_size=30)), 8)  # three epochs of 80, cut in the middle
    epochs = joined(batches)["index"].view(3, 80)
    assert all(len(set(epoch.tolist())) == 80 for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3
    assert all(batch["index"].dtype == batch["label"].dtype == torch.int64 for batch in batches)
    assert all(batch["image"].dtype == torch.float32 for batch in batches)


def test_a_batch_larger_than_the_data_set_spans_epochs():
    batch = next(ready().train_loader(BatchPlan(batch_size=200)))
    assert set(Counter(batch["index"].tolist()).values()) == {2, 3}


AUGMENTED = [RandomCrop(padding=2), RandomFlip(), RandomAffine(), GaussianNoise()]


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("augmentations", [[], AUGMENTED])
def test_a_stream_goes_on_anywhere_with_any_number_of_workers(augmentations, views):
    data = ready(augmentations=augmentations)
    plan = BatchPlan(batch_size=16, seed=3, views=views)
    whole = take(data.train_loader(plan), 14)
    for start, num_workers in ((0, 1), (5, 0), (5, 3), (11, 2)):
        going_on = take(
            data.train_loader(dataclasses.replace(plan, start_step=start, num_workers=num_workers)), 14 - start
        )
        for first, second in zip(whole[start:], going_on, strict=True):
            assert_same(first, second)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_evaluating_in_between_changes_no_batch():
    data, plan = ready(augmentations=AUGMENTED), BatchPlan(batch_size=16)
    whole = take(data.train_loader(plan), 6)
    torch.manual_seed(99)
    for expected, batch in zip(whole, data.train_loader(plan), strict=False):
        torch.rand(7)
        list(data.evaluation_loaders(plan)["val"])
        assert_same(expected, batch)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("augmentations", [[], [RandomCrop(padding=2), RandomFlip()]])
def test_shares_of_the_ranks_make_up_the_global_batch(augmentations, world):
    data, plan = ready(augmentations=augmentations), BatchPlan(batch_size=32)
    shares = [take(data.train_loader(dataclasses.replace(plan, rank=rank, world=world)), 4) for rank in range(world)]
    for expected, *parts in zip(take(data.train_loader(plan), 4), *shares, strict=True):
        assert_same(expected, joined(parts))


def test_seeds_and_epochs_change_the_augmentation():
    def drawn(seed, step):  # one step is one epoch; the same example in each
        batch = next(data.train_loader(BatchPlan(batch_size=80, seed=seed, start_step=step)))
        return batch["image"][batch["index"].argsort()]

    data = ready(augmentations=[GaussianNoise(std=0.3)])
    assert torch.equal(drawn(0, 0), drawn(0, 0))
    assert not torch.equal(drawn(0, 0), drawn(0, 1)) and not torch.equal(drawn(0, 0), drawn(1, 0))


def test_the_same_step_twice_in_a_row_draws_twice():
    noise = GaussianNoise(std=0.3)
    once, twice = ready(augmentations=[noise]), ready(augmentations=[noise, noise])
    plan = BatchPlan(batch_size=80)
    deviations = []
    for data in (ready(), once, twice):
        deviations.append(next(data.train_loader(plan))["image"])
    first, both = deviations[1] - deviations[0], deviations[2] - deviations[1]
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), both.flatten()]))[0, 1])) < 0.5


def test_views_are_independent_and_come_with_one_label_each():
    data = ready(augmentations=[GaussianNoise(std=0.3)])
    batch = next(data.train_loader(BatchPlan(batch_size=16, views=3)))
    assert set(batch) == {"views", "label", "index"}
    assert batch["views"].shape == (16, 3, 1, 6, 6) and batch["label"].shape == batch["index"].shape == (16,)
    assert batch["label"].tolist() == data.content.labels[batch["index"]].tolist()
    first, second = batch["views"][:, 0], batch["views"][:, 1]
    assert not torch.isclose(first, second).all((1, 2, 3)).any()
    # Both are of the example that `index` names: nearer to it than to its neighbour in the batch.
    pixels = torch.from_numpy(data.content.images[batch["index"]]) / 255
    plain = (pixels - data.spec.mean[0]) / data.spec.std[0]
    assert (((first - plain) ** 2).sum((1, 2, 3)) < ((first - plain.roll(1, 0)) ** 2).sum((1, 2, 3))).all()


def test_changing_a_batch_in_place_harms_no_later_one():
    data, plan = ready(), BatchPlan(batch_size=80)
    first = next(data.train_loader(plan))
    kept = {name: value.clone() for name, value in first.items()}
    for value in first.values():
        value.zero_()
    assert_same(next(data.train_loader(plan)), kept)
    for batch in data.evaluation_loaders(plan)["train"]:
        expected = {name: value.clone() for name, value in batch.items()}
        for value in batch.values():
            value.zero_()
    assert_same(next(iter(data.evaluation_loaders(plan)["train"])), expected)


@pytest.mark.parametrize("augmentations", [[], [RandomCrop(padding=2), GaussianNoise()]])
def test_large_data_sets_make_the_same_batches(monkeypatch, augmentations):
    plan = BatchPlan(batch_size=16, views=1)
    small = ready(augmentations=augmentations)
    expected = take(small.train_loader(plan), 3), list(small.evaluation_loaders(plan)["val"])
    monkeypatch.setattr(image_batches, "FLOAT_BYTES", 0)
    large = ready(augmentations=augmentations)
    assert large._store(plan.device).normalised is None
    found = take(large.train_loader(plan), 3), list(large.evaluation_loaders(plan)["val"])
    for first, second in zip(itertools.chain(*expected), itertools.chain(*found), strict=True):
        assert_same(first, second)


def test_data_too_large_for_the_device_are_copied_batch_by_batch(monkeypatch):
    monkeypatch.setattr(image_batches, "RESIDENT_BYTES", 0)
    data = ready(augmentations=[RandomFlip()])
    # The meta device holds no numbers: this proves where tensors lie, the values are those of the CPU's path.
    batches = data.train_loader(BatchPlan(batch_size=16, device=torch.device("meta")))
    batch = next(batches)
    batches.close()
    assert {value.device.type for value in batch.values()} == {"meta"}
    assert data._store(torch.device("meta")).device.type == "cpu"
    assert batch["image"].shape == (16, 1, 6, 6)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident_bytes", [0, 1 << 30])
def test_a_cuda_device_makes_the_batches_of_the_cpu(monkeypatch, resident_bytes):
    monkeypatch.setattr(image_batches, "RESIDENT_BYTES", resident_bytes)
    data = ready(augmentations=AUGMENTED)
    plan = BatchPlan(batch_size=16, views=2)
    on_cpu = take(data.train_loader(plan), 5)
    on_gpu = take(data.train_loader(dataclasses.replace(plan, device=torch.device("cuda:0"))), 5)
    for first, second in zip(on_cpu, on_gpu, strict=True):
        for name, value in first.items():
            assert second[name].is_cuda
            torch.testing.assert_close(second[name].cpu(), value, atol=1e-3, rtol=0)
