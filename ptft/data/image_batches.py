"""Whole batches of images: gathered by a store, augmented, and normalised last, on one device."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ptft.data.data_module import Batch, BatchPlan, DataSpec, transformed
from ptft.data.image_arrays import ImageArrays
from ptft.runtime.prefetch import Pieces, prefetch, then
from ptft.runtime.random import Draws, stream_indices

Augmentation = Callable[[Batch, Draws], Batch]
RESIDENT_BYTES = 4 << 30
"""Pixels up to this size are moved to the device once; larger ones are gathered on the CPU, batch by batch."""
LARGE = 1 << 14
"""Values of an image from which on the CPU normalises images one by one."""
FLOAT_BYTES = 32 << 20
"""Data sets up to this size as float32 are normalised once, for the batches that are not augmented."""


def step_name(number: int) -> str:
    """Return the name under which step `number` of the augmentation, from 0, draws."""
    return f"augmentation {number}"


@dataclass(frozen=True)
class Gathering:
    """How a store gathers training batches.

    Attributes:
        gather: Returns `image`, `label` and `index` of the examples `index`, (B,) int64, in their epochs, (B,) int64.
            `image` is (B, C, H, W), or (B * views, C, H, W) with the views of an example in a row.
        applied: How many of the first steps of the augmentation that has applied.
        ready: Whether the images are normalised and need nothing more.
        ahead: Batches to make ahead at most; None: as many as the threads take.
    """

    gather: Callable[[Tensor, Tensor], Batch | Pieces]
    applied: int = 0
    ready: bool = False
    ahead: int | None = None


class Store(Protocol):
    """Where batches are drawn from.

    Attributes:
        target: Where the batches are wanted.
        device: Where they are gathered: `target`, or the CPU; then they are copied by threads and finished there.
    """

    target: torch.device
    device: torch.device

    def training(
        self, rows: Tensor, plan: BatchPlan, augmentations: Sequence[Augmentation], num_workers: int
    ) -> Gathering:
        """Return how training batches of the examples `rows`, (N,) int64, are gathered by so many threads."""
        ...

    def evaluation(self, rows: Tensor, num_workers: int) -> Batch | Pieces:
        """Return `image`, `label` and `index` of some rows as evaluated: uint8, or normalised already."""
        ...

    def normalise(self, image: Tensor) -> Tensor:
        """Return what the model sees: (..., C, H, W) float32, from uint8 in [0, 255] or float32 in [0, 1]."""
        ...


class Normaliser:
    """Centres and scales each channel by the statistics of a data set, on one device."""

    def __init__(self, spec: DataSpec, target: torch.device) -> None:
        mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (spec.mean, spec.std))
        self._scale, self._shift = (1 / std).float().to(target), (-mean / std).float().to(target)
        self._byte_scale = (1 / (255 * std)).float().to(target)

    def __call__(self, image: Tensor) -> Tensor:
        """Return (..., C, H, W) float32, from uint8 in [0, 255] or float32 in [0, 1]."""
        if image.dtype == torch.uint8:
            if image.device.type == "cpu" and image.dim() == 4 and len(image) and image[0].numel() >= LARGE:
                return self._one_by_one(image)
            return image.to(torch.float32).mul_(self._byte_scale).add_(self._shift)
        return (image * self._scale).add_(self._shift)

    def _one_by_one(self, image: Tensor) -> Tensor:
        """Return the same values as for all images at once, in a quarter of the time.

        Each image stays in the processor's cache through all three steps, no step spreads a number over a channel, and
        the result lies in memory from numpy, which the system gives in large pages.
        """
        memory = (0, 2, 3, 1) if image.stride(1) == 1 else (0, 1, 2, 3)  # the order of the values in memory
        back = (0, 3, 1, 2) if memory[1] == 2 else (0, 1, 2, 3)
        laid = image.permute(memory)
        whole = torch.from_numpy(np.empty(tuple(laid.shape), dtype=np.float32))
        scale, shift = (
            values.expand(image.shape[1:]).permute([axis - 1 for axis in memory[1:]]).reshape(-1)
            for values in (self._byte_scale, self._shift)
        )
        for pixels, values in zip(laid.flatten(1), whole.flatten(1), strict=True):
            values.copy_(pixels).mul_(scale).add_(shift)
        return whole.permute(back)


class ImageStore:
    """All images and labels of a data set as tensors, for batches on one device.

    Attributes:
        target: Where the batches are wanted.
        device: Where the tensors lie: `target`, or the CPU when they are too large for that.
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        normalised: (N, C, H, W) float32 ready for the model; None where that would take much memory.
    """

    def __init__(self, arrays: ImageArrays, spec: DataSpec, target: torch.device) -> None:
        self.target = target
        self.device = target if arrays.images.nbytes <= RESIDENT_BYTES else torch.device("cpu")
        images = np.require(arrays.images, requirements=["C", "W"])  # a copy only where torch could not share it
        self.images = torch.from_numpy(images).to(self.device)
        self.labels = torch.from_numpy(arrays.labels).to(self.device, torch.int64)
        self.normalise = Normaliser(spec, target)
        small = self.device == target and self.images.numel() * 4 <= FLOAT_BYTES
        self.normalised = self.normalise(self.images) if small else None

    def training(
        self, rows: Tensor, plan: BatchPlan, augmentations: Sequence[Augmentation], num_workers: int
    ) -> Gathering:
        """Return how training batches of the examples `rows`, (N,) int64, are gathered."""
        plain = not augmentations and plan.views == 1
        if plain and self.normalised is not None:
            normalised = self.normalised
            return Gathering(lambda index, epoch: self._rows(normalised, index), ready=True)
        return Gathering(lambda index, epoch: self._rows(self.images, index))

    def evaluation(self, rows: Tensor, num_workers: int) -> Batch:
        """Return `image`, `label` and `index` of some rows: uint8, or normalised already."""
        # The rows are part of a larger tensor that a batch changed in place would spoil.
        return self._rows(self.images if self.normalised is None else self.normalised, rows.clone())

    def _rows(self, images: Tensor, index: Tensor) -> Batch:
        return {"image": images.index_select(0, index), "label": self.labels.index_select(0, index), "index": index}


class TrainingBatches:
    """Makes the training batch of a step: a pure function of (plan.seed, step)."""

    def __init__(
        self, store: Store, rows: Tensor, plan: BatchPlan, augmentations: Sequence[Augmentation], num_workers: int
    ) -> None:
        """Prepare batches of the examples `rows`, (N,) int64."""
        self._store = store
        self._rows = rows.to(store.device)
        self._plan = plan
        # Kernels of an accelerator run in the order they are given: threads would win nothing there.
        self._num_workers = num_workers if store.device.type == "cpu" else 0
        self._gathering = store.training(self._rows, plan, augmentations, self._num_workers)
        named = [(step_name(number), step) for number, step in enumerate(augmentations)]
        self._augmentations = named[self._gathering.applied :]
        # Each rank's share of the global batch is contiguous, so that the shares in order make up the batch.
        self._share = slice(plan.batch_size * plan.rank // plan.world, plan.batch_size * (plan.rank + 1) // plan.world)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yield the batches from plan.start_step on."""
        start, ahead = self._plan.start_step, self._gathering.ahead
        return _stream(self._store, self._gather, self._finish, start, None, self._num_workers, ahead)

    def _gather(self, step: int) -> Batch | Pieces:
        plan, device = self._plan, self._store.device
        place, epoch = stream_indices(step, plan.batch_size, len(self._rows), plan.seed, device)
        if plan.world > 1:
            place, epoch = place[self._share], epoch[self._share]
        made = self._gathering.gather(self._rows.index_select(0, place), epoch)
        return then(made, lambda batch: {**batch, "epoch": epoch})

    @torch.no_grad()
    def _finish(self, batch: Batch) -> Batch:
        epoch = batch.pop("epoch")
        if self._gathering.ready:
            return self._transformed(batch, epoch)
        views, index, label = self._plan.views, batch["index"], batch["label"]
        if self._augmentations:
            draws = Draws(self._plan.seed, epoch, index)
            if views > 1:
                draws = draws.repeat(views)
        if views > 1:
            # A store that cut windows has made the views of an example already.
            once = {name: value for name, value in batch.items() if len(value) == len(index)}
            batch = {**batch, **{name: value.repeat_interleave(views, 0) for name, value in once.items()}}
        for name, augment in self._augmentations:
            batch = augment(batch, draws.child(name))
        image = self._store.normalise(batch["image"])
        if views == 1:
            return self._transformed({**batch, "image": image}, epoch)
        return self._transformed(
            {"views": image.view(-1, views, *image.shape[1:]), "label": label, "index": index}, epoch
        )

    def _transformed(self, batch: Batch, epoch: Tensor) -> Batch:
        return transformed(batch, self._plan.transform, self._plan.seed, epoch)


def _stream(
    store: Store,
    gather: Callable[[int], Batch | Pieces],
    finish: Callable[[Batch], Batch],
    start: int,
    stop: int | None,
    num_workers: int,
    ahead: int | None = None,
) -> Generator[Batch, None, None]:
    """Yield finish(gather(step)) for the steps from `start` to before `stop`, on the store's target."""
    if store.device != store.target:
        # Gathered on the CPU by threads, copied as bytes, finished on the device.
        batches = prefetch(gather, start, num_workers, store.target, stop=stop, ahead=ahead)
        return _finished(batches, finish)
    here = torch.device("cpu")  # the batches lie where they are wanted: nothing is to be copied
    return prefetch(lambda step: then(gather(step), finish), start, num_workers, here, stop=stop, ahead=ahead)


def _finished(batches: Generator[Batch, None, None], finish: Callable[[Batch], Batch]) -> Generator[Batch, None, None]:
    try:
        for batch in batches:
            yield finish(batch)
    finally:
        batches.close()


class EvaluationBatches:
    """Some rows of a data set in order, each once, without augmentation; the last batch may be smaller.

    Examples that the store leaves out, as their files broke, are missing; a batch of none at all does not come.
    """

    def __init__(
        self,
        store: Store,
        rows: Tensor,
        batch_size: int,
        num_workers: int = 0,
        transform: Callable[[Batch, Draws], Batch] | None = None,
    ) -> None:
        self._store = store
        self._transform = transform
        self._rows = rows.to(store.device)
        self._batch_size = batch_size
        self._num_workers = num_workers if store.device.type == "cpu" else 0

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self._rows) // self._batch_size)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Go through the rows once more."""
        batches = _stream(self._store, self._gather, self._finish, 0, len(self), self._num_workers)
        try:
            for batch in batches:
                if len(batch["index"]):
                    yield batch
        finally:
            batches.close()

    def _gather(self, step: int) -> Batch | Pieces:
        rows = self._rows[step * self._batch_size : (step + 1) * self._batch_size]
        return self._store.evaluation(rows, self._num_workers)

    @torch.no_grad()
    def _finish(self, batch: Batch) -> Batch:
        image = batch["image"]
        batch = {**batch, "image": self._store.normalise(image) if image.dtype == torch.uint8 else image}
        return transformed(batch, self._transform)
