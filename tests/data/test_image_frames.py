"""Frames: windows and centres of pictures of any size, the same however many threads make them."""

import dataclasses
import gc
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from ptft.augmentation.vision.flip import RandomFlip
from ptft.augmentation.vision.noise import GaussianNoise
from ptft.augmentation.vision.random_resized_crop import RandomResizedCrop
from ptft.data.bad_samples import BadSamples
from ptft.data.data_module import BatchPlan, DataSpec
from ptft.data.image_batches import EvaluationBatches, Normaliser, TrainingBatches
from ptft.data.image_cache import build_cache
from ptft.data.image_files import ImageFiles
from ptft.data.image_frames import FrameStore
from ptft.errors import DataError
from ptft.runtime.random import Draws, stream_indices
from tests.data.images import assert_same, joined, take
from tests.data.test_image_files import colours, save

CPU = torch.device("cpu")
SIZES = [(40, 60), (60, 40), (33, 33), (16, 90), (20, 21), (1, 1), (7, 300), (64, 48), (50, 50), (31, 17)]
STEPS = [RandomResizedCrop(), RandomFlip(), GaussianNoise(std=0.1)]


@pytest.fixture
def files(tmp_path):
    """Thirty pictures of ten sizes, PNG and JPEG."""
    names = []
    for number in range(30):
        content = colours(*SIZES[number % 10], seed=number).reshape(*SIZES[number % 10], 3)
        names.append(save(tmp_path, f"{number}.{'jpg' if number % 3 else 'png'}", Image.fromarray(content)))
    return ImageFiles(tmp_path, names)


@pytest.fixture
def whole_files(files):
    """The same pictures as PNGs, which never come smaller than they are."""
    for name in files.paths:
        Image.open(files.root / name).save((files.root / name).with_suffix(".png"))
    return ImageFiles(files.root, [f"{number}.png" for number in range(30)])


def store_of(pictures, *, size=16, resize=20, channels=3, bad=None):
    statistics = {"mean": (0.5, 0.4, 0.3)[:channels], "std": (0.2, 0.3, 0.4)[:channels]}
    spec = DataSpec(kind="image", shape=(channels, size, size), classes=("a", "b"), **statistics)
    return FrameStore(pictures, np.arange(len(pictures)) % 2, spec, CPU, size=size, resize=resize, bad=bad)


def batches_of(store, augmentations=STEPS, rows=None, num_workers=0, **plan):
    rows = torch.arange(30) if rows is None else rows
    plan = BatchPlan(**{"batch_size": 8, "seed": 3, **plan})
    return iter(TrainingBatches(store, rows, plan, augmentations, num_workers))


def pixels(batch, store, name="image"):
    """The bytes that a normalised batch was made from."""
    image = batch[name].flatten(0, -4)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    return ((image * std + mean) * 255).round().to(torch.uint8)


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


# ---- Evaluation


def test_an_evaluated_picture_is_what_torchvision_makes_of_it(whole_files):
    store = store_of(whole_files)
    for number in range(30):
        picture = whole_files.read(number)
        if max(picture.shape[1:]) > 4 * min(picture.shape[1:]):
            continue
        whole = functional.resize(picture, [20], interpolation=InterpolationMode.BILINEAR, antialias=True)
        assert torch.equal(store.frames(torch.tensor([number]))[0], functional.center_crop(whole, [16, 16])), number


def test_an_evaluated_picture_is_what_pillow_makes_of_it(tmp_path):
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    save(tmp_path, "a.png", small.resize((400, 300), Image.Resampling.BICUBIC))
    found = store_of(ImageFiles(tmp_path, ["a.png"]), size=64, resize=72).frames(torch.tensor([0]))[0]
    whole = Image.open(tmp_path / "a.png").resize((96, 72), Image.Resampling.BILINEAR)
    expected = np.array(whole.crop((16, 4, 80, 68)))
    assert np.abs(found.permute(1, 2, 0).numpy().astype(int) - expected.astype(int)).max() <= 1


def test_of_a_long_strip_the_middle_is_evaluated_without_much_memory(tmp_path):
    content = np.zeros((1, 100_000, 3), dtype=np.uint8)
    content[:, 49_990:50_010] = 200
    save(tmp_path, "a.png", Image.fromarray(content))
    store = store_of(ImageFiles(tmp_path, ["a.png"]), size=224, resize=256)
    assert (store.frames(torch.tensor([0])) == 200).all()


def test_a_large_jpeg_scaled_while_decoding_looks_as_if_it_were_not(tmp_path):
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8))
    large = small.resize((800, 600), Image.Resampling.BICUBIC)
    save(tmp_path, "a.jpg", large, quality=95)
    save(tmp_path, "a.png", Image.open(tmp_path / "a.jpg"))
    store = store_of(ImageFiles(tmp_path, ["a.jpg", "a.png"]), size=64, resize=72)
    evaluated = store.frames(torch.arange(2)).float()
    index = torch.zeros(4, dtype=torch.int64)
    windows = RandomResizedCrop(scale_min=0.5).windows(torch.tensor([[600, 800]] * 4), Draws(0, index, index))
    frames = torch.empty(2, 4, 64, 64, 3, dtype=torch.uint8)
    for number in range(2):
        store._make(number, windows, frames[number])
    for scaled, whole in (evaluated, frames.float()):
        assert (scaled - whole).abs().mean() < 1.5 and (scaled - whole).abs().max() < 16


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 30, 100])
def test_each_picture_is_evaluated_once_in_order(files, num_workers, batch_size):
    store, rows = store_of(files), torch.arange(2, 28)
    loader = EvaluationBatches(store, rows, batch_size, num_workers)
    batches = list(loader)
    assert len(batches) == len(loader)
    whole = joined(batches)
    assert whole["index"].tolist() == rows.tolist() and whole["label"].tolist() == (rows % 2).tolist()
    assert torch.equal(pixels(whole, store), store.frames(rows))
    assert not prefetching()


# ---- Training


def test_a_window_is_cut_out_of_the_picture_as_decoded_and_resized_once(whole_files):
    files, crop = whole_files, RandomResizedCrop()
    store = store_of(files)
    for step, batch in enumerate(take(batches_of(store, [crop]), 6)):
        place, epoch = stream_indices(step, 8, 30, 3)
        assert batch["index"].tolist() == place.tolist() and batch["label"].tolist() == (place % 2).tolist()
        sizes = torch.tensor([files.size(number) for number in place.tolist()])
        windows = crop.windows(sizes, Draws(3, epoch, place).child("augmentation 0")).long().tolist()
        for found, number, (top, left, height, width) in zip(
            pixels(batch, store), place.tolist(), windows, strict=True
        ):
            expected = functional.resized_crop(files.read(number), top, left, height, width, [16, 16], antialias=True)
            assert torch.equal(found, expected)


def test_without_windows_training_pictures_are_as_evaluated(files):
    store = store_of(files)
    for batch in take(batches_of(store, []), 4):
        assert torch.equal(pixels(batch, store), store.frames(batch["index"]))
    batch = next(batches_of(store, [], views=2))
    assert batch["views"].shape == (8, 2, 3, 16, 16) and torch.equal(batch["views"][:, 0], batch["views"][:, 1])


@pytest.mark.parametrize("augmentations", [[], STEPS, STEPS[1:]])
@pytest.mark.parametrize("views", [1, 2])
def test_a_stream_goes_on_anywhere_with_any_number_of_workers(files, augmentations, views):
    store = store_of(files)
    whole = take(batches_of(store, augmentations, views=views), 9)  # more than two epochs of 30
    for start, num_workers in ((0, 1), (3, 3), (5, 0), (5, 40)):
        stream = batches_of(store, augmentations, views=views, start_step=start, num_workers=num_workers)
        for expected, found in zip(whole[start:], take(stream, 9 - start), strict=True):
            assert_same(expected, found)
    assert not prefetching()


def test_views_are_windows_of_their_own_of_one_picture(files):
    batch = next(batches_of(store_of(files), [RandomResizedCrop()], views=3, rows=torch.arange(5)))
    assert batch["views"].shape == (8, 3, 3, 16, 16) and set(batch) == {"views", "label", "index"}
    first, second = batch["views"][:, 0], batch["views"][:, 1]
    large = torch.tensor([SIZES[number] != (1, 1) for number in batch["index"].tolist()])
    assert (first != second).flatten(1).any(1)[large].all()


def test_shares_of_the_ranks_make_up_the_global_batch(files):
    store = store_of(files)
    shares = [take(batches_of(store, world=3, rank=rank, num_workers=rank), 3) for rank in range(3)]
    for expected, *parts in zip(take(batches_of(store), 3), *shares, strict=True):
        assert_same(expected, joined(parts))


def test_an_epoch_later_the_windows_are_others(files):
    store, rows = store_of(files), torch.tensor([0])
    first, second = take(batches_of(store, [RandomResizedCrop()], rows=rows, batch_size=1), 2)
    assert not torch.equal(first["image"], second["image"])


def test_from_a_cache_windows_are_cut_out_of_the_cached_picture(files, tmp_path):
    cache, _ = build_cache(files, 24, tmp_path / "cache", "key")
    crop, store = RandomResizedCrop(), store_of(cache)
    batch = next(batches_of(store, [crop], num_workers=2))
    place, epoch = stream_indices(0, 8, 30, 3)
    sizes = torch.tensor([cache.size(number) for number in place.tolist()])
    assert int(sizes.min(1).values.max()) == 24
    windows = crop.windows(sizes, Draws(3, epoch, place).child("augmentation 0")).long().tolist()
    for found, number, (top, left, height, width) in zip(pixels(batch, store), place.tolist(), windows, strict=True):
        expected = functional.resized_crop(cache.read(number), top, left, height, width, [16, 16], antialias=True)
        assert torch.equal(found, expected)


def test_greys_are_made_into_frames_of_one_channel(files):
    grey = ImageFiles(files.root, files.paths, channels=1)
    store = store_of(grey, channels=1)
    assert next(batches_of(store))["image"].shape == (8, 1, 16, 16)
    whole = functional.resize(grey.read(0), [20], antialias=True)
    assert torch.equal(store.frames(torch.tensor([0]))[0], functional.center_crop(whole, [16, 16]))


# ---- Pictures that break while training


def break_picture(files, number):
    path = files.path(number)
    path.write_bytes(path.read_bytes()[:30])


def test_a_picture_that_breaks_stops_the_run_and_is_named(files):
    store = store_of(files)
    next(batches_of(store))
    break_picture(files, 4)
    files.path(5).unlink()
    for rows, name in ((torch.tensor([4]), files.paths[4]), (torch.tensor([5]), files.paths[5])):
        for num_workers in (0, 2):
            with pytest.raises(DataError, match=rf"{name}.*data\.on_bad_sample=skip"):
                next(batches_of(store, rows=rows, num_workers=num_workers))
            with pytest.raises(DataError, match=name):
                list(EvaluationBatches(store, rows, 4, num_workers))
    assert not prefetching()


def test_for_a_picture_that_breaks_the_next_one_is_taken_and_it_is_counted(files):
    rows = torch.arange(0, 30, 2)
    whole = take(batches_of(store_of(files), rows=rows), 6)
    for number in (4, 6, 28):
        break_picture(files, number)
    found = {}
    for num_workers in (0, 3):
        bad = BadSamples(most=3)
        found[num_workers] = take(batches_of(store_of(files, bad=bad), rows=rows, num_workers=num_workers), 6)
        assert list(bad.found()) == [4, 6, 28] and files.paths[4] in bad.found()[4]
    for expected, first, second in zip(whole, found[0], found[3], strict=True):
        assert_same(first, second)
        taken = {4: 8, 6: 8, 28: 0}
        assert first["index"].tolist() == [taken.get(number, number) for number in expected["index"].tolist()]
        assert first["label"].tolist() == (first["index"] % 2).tolist()
        kept = first["index"] == expected["index"]
        assert torch.equal(first["image"][kept], expected["image"][kept])


def test_more_broken_pictures_than_may_be_are_an_error(files):
    for number in (4, 6):
        break_picture(files, number)
    with pytest.raises(DataError, match=r"2 pictures broke .* leaves room for 1"):
        take(batches_of(store_of(files, bad=BadSamples(most=1))), 4)


def test_when_no_picture_is_left_the_run_stops(files):
    for number in range(30):
        break_picture(files, number)
    with pytest.raises(DataError, match="none of the training pictures"):
        next(batches_of(store_of(files, bad=BadSamples(most=30))))


def test_a_picture_that_breaks_is_left_out_of_an_evaluation(files):
    bad = BadSamples(most=30)
    store = store_of(files, bad=bad)
    for number in (4, 8, 9, 10, 11):
        break_picture(files, number)
    batches = list(EvaluationBatches(store, torch.arange(30), 4, 2))
    whole = joined(batches)
    assert whole["index"].tolist() == [number for number in range(30) if number not in bad.found()]
    assert len(batches) == 7 and list(bad.found()) == [4, 8, 9, 10, 11]  # the batch of 8 to 11 is empty
    assert torch.equal(pixels(whole, store), store.frames(whole["index"]))


def test_a_picture_that_changes_its_size_is_cut_all_the_same(files):
    store = store_of(files)
    next(batches_of(store, rows=torch.tensor([0])))
    save(files.root, files.paths[0], Image.fromarray(colours(11, 9)))
    assert next(batches_of(store, rows=torch.tensor([0])))["image"].shape == (8, 3, 16, 16)


# ---- Threads and memory


def test_threads_end_with_the_stream_however_it_ends(files):
    store = store_of(files)
    stream = batches_of(store, num_workers=3)
    next(stream)
    assert len(prefetching()) == 3
    stream.close()
    assert not prefetching()
    stream = batches_of(store, num_workers=3)
    next(stream)
    del stream
    gc.collect()
    assert not prefetching()
    with pytest.raises(KeyboardInterrupt):
        for _ in batches_of(store, num_workers=3):
            raise KeyboardInterrupt
    gc.collect()
    assert not prefetching()
    evaluation = iter(EvaluationBatches(store, torch.arange(30), 2, 3))
    next(evaluation)
    evaluation.close()
    assert not prefetching()


def test_few_batches_are_made_ahead(files, monkeypatch):
    read, numbers = ImageFiles.read, []
    monkeypatch.setattr(ImageFiles, "read", lambda *arguments: numbers.append(arguments[1]) or read(*arguments))
    stream = batches_of(store_of(files), num_workers=4)
    next(stream)
    threading.Event().wait(0.3)
    stream.close()
    assert len(numbers) <= 8 * 4  # the batch itself and three ahead, where four threads used to make eight


# ---- Normalising


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_are_normalised_to_the_same_bits_as_small_ones(layout, channels):
    spec = DataSpec(
        kind="image", shape=(3, 1, 1), mean=(0.485, 0.456, 0.406)[:channels], std=(0.2, 0.3, 0.4)[:channels]
    )
    normalise = Normaliser(spec, CPU)
    image = torch.randint(0, 256, (3, channels, 130, 150), dtype=torch.uint8).contiguous(memory_format=layout)
    found = normalise(image)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=layout)
    # The rows of the picture as images of their own are small: those are normalised all at once.
    rows = image.permute(0, 2, 1, 3).reshape(-1, channels, 1, 150)
    assert torch.equal(found, normalise(rows).view(3, 130, channels, 150).permute(0, 2, 1, 3))


def test_a_plan_with_more_ranks_than_pictures_gives_some_nothing_to_do(files):
    plan = BatchPlan(batch_size=2, world=3, rank=0)
    for rank in range(3):
        batch = next(
            iter(TrainingBatches(store_of(files), torch.arange(30), dataclasses.replace(plan, rank=rank), STEPS, 2))
        )
        assert len(batch["index"]) == (0, 1, 1)[rank]
