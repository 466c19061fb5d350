"""CPU time to make a batch of 128 cropped, flipped, normalised 28x28 images; `python -m benchmarks.bench_batches`.

ptft works on the whole batch; the rival is what most scripts do: a torchvision-style data set with PIL transforms image
by image behind a DataLoader. Both in one thread, in turns, medians of the rounds.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import itertools
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ptft.augmentation.vision.crop import RandomCrop
from ptft.augmentation.vision.flip import RandomFlip
from ptft.data.data_module import BatchPlan
from ptft.data.image_arrays import ImageArrays
from ptft.data.in_memory import InMemoryImages

BATCH_SIZE, ROUNDS, BATCHES = 128, 15, 10
AIM = 15.0


def pictures(count: int = 10_000) -> ImageArrays:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    return ImageArrays(images, generator.integers(0, 10, count), tuple("0123456789"))


class Generated(InMemoryImages):
    def read(self) -> ImageArrays:
        return pictures()


class OneByOne(Dataset[tuple[Tensor, int]]):
    """As torchvision.datasets.FashionMNIST gives them: a PIL image, transformed."""

    def __init__(self, mean: float, std: float) -> None:
        arrays = pictures()
        self.images, self.labels = torch.from_numpy(arrays.images[:, 0]), torch.from_numpy(arrays.labels)
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(28, padding=2),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((mean,), (std,)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index].numpy())), int(self.labels[index])


def cpu_seconds(batches: Iterator[object]) -> float:
    """CPU time of one batch, over BATCHES of them."""
    begin = time.process_time()
    for _ in itertools.islice(batches, BATCHES):
        pass
    return (time.process_time() - begin) / BATCHES


def measure() -> tuple[float, float]:
    """Return the median CPU seconds of a batch: ours, theirs."""
    torch.set_num_threads(1)
    data = Generated([RandomCrop(padding=2), RandomFlip()])
    data.setup()
    loader = DataLoader(OneByOne(data.spec.mean[0], data.spec.std[0]), BATCH_SIZE, shuffle=True, drop_last=True)
    ours: Iterator[object] = data.train_loader(BatchPlan(batch_size=BATCH_SIZE))
    theirs: Iterator[object] = itertools.chain.from_iterable(itertools.repeat(loader))
    times: list[tuple[float, float]] = []
    for _ in range(ROUNDS + 1):
        times.append((cpu_seconds(ours), cpu_seconds(theirs)))
    mine, other = zip(*times[1:], strict=True)  # the first round warms up
    return statistics.median(mine), statistics.median(other)


def main() -> None:
    ours, theirs = measure()
    print(f"making a batch of {BATCH_SIZE} augmented 28x28 images, CPU time, one thread, median of {ROUNDS} rounds")
    print(f"  torchvision, PIL, image by image   {theirs * 1e3:8.2f} ms")
    print(f"  ptft, whole batch                  {ours * 1e3:8.2f} ms")
    print(f"  ratio                              {theirs / ours:8.1f} times faster (at least {AIM:g} wanted)")


if __name__ == "__main__":
    main()
