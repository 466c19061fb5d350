"""Whole batches of images: gathered from one tensor, augmented, and normalised last, all on one device."""

from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ptft.data.data_module import Batch, BatchPlan, DataSpec
from ptft.data.image_arrays import ImageArrays
from ptft.runtime.prefetch import prefetch
from ptft.runtime.random import Draws, stream_indices

Augmentation = Callable[[Batch, Draws], Batch]
RESIDENT_BYTES = 4 << 30
"""Pixels up to this size are moved to the device once; larger ones are gathered on the CPU, batch by batch."""
FLOAT_BYTES = 32 << 20
"""Data sets up to this size as float32 are normalised once, for the batches that are not augmented."""


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
        mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (spec.mean, spec.std))
        self._scale, self._shift = (1 / std).float().to(target), (-mean / std).float().to(target)
        self._byte_scale = (1 / (255 * std)).float().to(target)
        small = self.device == target and self.images.numel() * 4 <= FLOAT_BYTES
        self.normalised = self.normalise(self.images) if small else None

    def normalise(self, image: Tensor) -> Tensor:
        """Return what the model sees: (..., C, H, W) float32, from uint8 in [0, 255] or float32 in [0, 1]."""
        if image.dtype == torch.uint8:
            return image.to(torch.float32).mul_(self._byte_scale).add_(self._shift)
        return (image * self._scale).add_(self._shift)

    def normalised_rows(self, rows: Tensor) -> Tensor:
        """Return the normalised images of some rows, (B,) int64 on the store's device, on the target."""
        if self.normalised is not None:
            return self.normalised.index_select(0, rows)
        return self.normalise(self.images.index_select(0, rows).to(self.target))


class TrainingBatches:
    """Makes the training batch of a step: a pure function of (plan.seed, step)."""

    def __init__(
        self, store: ImageStore, rows: Tensor, plan: BatchPlan, augmentations: Sequence[Augmentation], num_workers: int
    ) -> None:
        """Prepare batches of the examples `rows`, (N,) int64."""
        self._store = store
        self._rows = rows.to(store.device)
        self._plan = plan
        self._augmentations = [(f"augmentation {number}", step) for number, step in enumerate(augmentations)]
        self._num_workers = num_workers
        plain = not augmentations and plan.views == 1
        self._ready = store.normalised if plain else None  # images that need nothing more
        # Each rank's share of the global batch is contiguous, so that the shares in order make up the batch.
        self._share = slice(plan.batch_size * plan.rank // plan.world, plan.batch_size * (plan.rank + 1) // plan.world)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yield the batches from plan.start_step on."""
        plan, store = self._plan, self._store
        if store.device != store.target:
            # Gathered on the CPU by threads, copied as bytes, finished on the device.
            batches = prefetch(self._gather, plan.start_step, self._num_workers, store.target)
            return _finished(batches, self._finish)
        # Kernels of an accelerator run in the order they are given: threads would win nothing there.
        threads = self._num_workers if store.target.type == "cpu" else 0
        return prefetch(lambda step: self._finish(self._gather(step)), plan.start_step, threads, torch.device("cpu"))

    def _gather(self, step: int) -> Batch:
        plan, store = self._plan, self._store
        place, epoch = stream_indices(step, plan.batch_size, len(self._rows), plan.seed, store.device)
        if plan.world > 1:
            place, epoch = place[self._share], epoch[self._share]
        index = self._rows.index_select(0, place)
        images = store.images if self._ready is None else self._ready
        return {
            "image": images.index_select(0, index),
            "label": store.labels.index_select(0, index),
            "index": index,
            "epoch": epoch,
        }

    @torch.no_grad()
    def _finish(self, batch: Batch) -> Batch:
        epoch = batch.pop("epoch")
        if self._ready is not None:
            return batch
        views, index, label = self._plan.views, batch["index"], batch["label"]
        if self._augmentations:
            draws = Draws(self._plan.seed, epoch, index)
            if views > 1:
                draws = draws.repeat(views)
        if views > 1:
            batch = {name: value.repeat_interleave(views, 0) for name, value in batch.items()}
        for name, augment in self._augmentations:
            batch = augment(batch, draws.child(name))
        image = self._store.normalise(batch["image"])
        if views == 1:
            return {**batch, "image": image}
        return {"views": image.view(-1, views, *image.shape[1:]), "label": label, "index": index}


def _finished(batches: Generator[Batch, None, None], finish: Callable[[Batch], Batch]) -> Generator[Batch, None, None]:
    try:
        for batch in batches:
            yield finish(batch)
    finally:
        batches.close()


class EvaluationBatches:
    """Some rows of a data set in order, each once, without augmentation; the last batch may be smaller."""

    def __init__(self, store: ImageStore, rows: Tensor, batch_size: int) -> None:
        self._store = store
        self._rows = rows.to(store.device)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self._rows) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Go through the rows once more."""
        store = self._store
        for start in range(0, len(self._rows), self._batch_size):
            rows = self._rows[start : start + self._batch_size]
            yield {
                "image": store.normalised_rows(rows),
                "label": store.labels.index_select(0, rows).to(store.target),
                "index": rows.to(store.target, copy=True),
            }
