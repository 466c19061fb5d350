"""Images that fit in memory: uint8 arrays, gathered, augmented and normalised by the whole batch on the device.

A subclass reads arrays; everything else is here. The batch of step k is a pure function of (plan.seed, k).
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch

from ptft.data.data_module import Batch, BatchPlan, DataSpec
from ptft.data.image_arrays import ImageArrays, Rows, check_arrays, check_fit, fingerprint, pixel_statistics
from ptft.data.image_batches import Augmentation, EvaluationBatches, ImageStore, TrainingBatches
from ptft.data.new_pictures import PictureModule
from ptft.data.split import Split, class_counts, divide, keep_labels
from ptft.errors import ConfigError, DataError
from ptft.types import NonNegativeInt, PositiveShare


class InMemoryImages(PictureModule):
    """A labelled image data set held in memory as uint8.

    `index` is the number of the row in the arrays read, the same in every split.
    """

    title = "images"
    """What messages call the data."""

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        *,
        path: str | None = None,
        download: bool = False,
        label_fraction: PositiveShare = 1.0,
        num_workers: NonNegativeInt | Literal["auto"] = "auto",
        allow_changed: bool = False,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        split: Split | None = None,
    ) -> None:
        """Keep the settings; nothing is read before `setup`.

        Args:
            augmentations: Applied in turn to training batches before they are normalised.
            path: Folder of the data; None: where the data set is usually found.
            download: Whether missing data may be fetched.
            label_fraction: Share of the training labels to keep, above 0; the training split shrinks to them (see
                `keep_labels`), the other splits do not.
            num_workers: Threads that make training batches ahead; auto: those the plan asks for, and at least 2 where
                batches must be copied to a device one by one.
            allow_changed: Read by resume: go on although the fingerprint is another.
            mean: Mean of each channel, in [0, 1], that images are normalised with; None: that of the training split.
            std: Standard deviation of each channel; None: that of the training split.
            split: How to divide; a config gives a mapping of the fields of `Split`.

        Raises:
            ConfigError: `label_fraction` is 0, `split` is not a split or asks for groups, or only one of `mean` and
                `std` is given.
        """
        if not 0 < label_fraction <= 1:
            raise ConfigError(f"data.label_fraction takes a share above 0 and at most 1, found {label_fraction}")
        if (mean is None) != (std is None) or any(value <= 0 for value in std or ()):
            raise ConfigError(f"data.mean={mean} and data.std={std} go together, and a deviation is above 0")
        self.path = path
        self.download = download
        self.label_fraction = label_fraction
        self.num_workers = num_workers
        self.allow_changed = allow_changed
        self.mean = mean
        self.std = std
        self.split = Split.of(split)
        if self.split.group is not None:
            raise ConfigError(
                f"data.split.group={self.split.group}: these data have neither names of files nor columns to group by; "
                "leave it out"
            )
        self._augmentations = tuple(augmentations)
        self._arrays: ImageArrays | None = None
        self._rows: dict[str, Rows] = {}
        self._spec: DataSpec | None = None
        self._stores: dict[torch.device, ImageStore] = {}

    @abstractmethod
    def read(self) -> ImageArrays:
        """Read the whole data set.

        Raises:
            DataError: The data are missing or damaged.
        """

    def setup(self, spec: DataSpec | None = None) -> None:
        """Read, check and divide the data; fit mean and standard deviation, or take them from `spec`.

        They are fitted on the whole training split, before `label_fraction` makes it smaller, as images may be looked
        at without their labels. With a `spec`, `self.spec` is that one with the fingerprint of the data read now.

        Raises:
            DataError: The data are missing, empty, damaged, of one class only, or do not fit `spec`.
        """
        arrays = self.read()
        check_arrays(arrays, self.title)
        labels = arrays.labels.astype(np.int64)
        rows = divide(labels, self.split, num_test=arrays.num_test)
        missing = np.setdiff1d(labels, labels[rows["train"]])
        if len(missing):
            names = ", ".join(arrays.classes[number] for number in missing)
            raise DataError(f"{self.title}: no training example of {names}; use data.split.stratify=true or more data")
        mean, std = self._statistics(arrays, rows["train"])
        rows["train"] = keep_labels(labels, rows["train"], self.label_fraction, self.split)
        shape, digest = tuple(arrays.images.shape[1:]), fingerprint(arrays, rows)
        own = DataSpec(kind="image", shape=shape, classes=arrays.classes, mean=mean, std=std, fingerprint=digest)
        if spec is not None:
            check_fit(own, spec, self.title)
            own = dataclasses.replace(spec, fingerprint=digest)
        counts = own.class_counts or class_counts(labels[rows["train"]], len(arrays.classes))
        self._arrays, self._rows, self._spec = arrays, rows, dataclasses.replace(own, class_counts=counts)
        self._stores.clear()

    def _statistics(self, arrays: ImageArrays, rows: Rows) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel: those set, else those of some rows."""
        if self.mean is None or self.std is None:
            return pixel_statistics(arrays.images, rows)
        channels = arrays.images.shape[1]
        if len(self.mean) != channels or len(self.std) != channels:
            raise DataError(
                f"{self.title}: data.mean and data.std need {channels} values each, one a channel; found "
                f"{len(self.mean)} and {len(self.std)}"
            )
        return tuple(self.mean), tuple(self.std)

    @property
    def num_examples(self) -> int:
        """Examples in the training split, after `label_fraction`."""
        return len(self._rows["train"])

    def describe(self) -> str:
        """Return one line on the data for the console: sizes of the splits, shape, classes."""
        sizes = ", ".join(f"{len(self._rows[name]):,} {name}" for name in ("train", "val", "test"))
        kept = "" if self.label_fraction == 1 else f" (label_fraction={self.label_fraction:g})"
        shape = "x".join(str(side) for side in self.spec.shape)
        return f"{self.title}: {sizes}{kept}; {shape}, {self.spec.num_classes} classes"

    def train_loader(self, plan: BatchPlan) -> Generator[Batch, None, None]:
        """Yield augmented training batches without end, from `plan.start_step` on, on `plan.device`."""
        store = self._store(plan.device)
        least = 0 if store.device == store.target else 2
        workers = max(least, plan.num_workers) if self.num_workers == "auto" else self.num_workers
        rows = torch.from_numpy(self._rows["train"])
        return iter(TrainingBatches(store, rows, plan, self._augmentations, workers))

    def evaluation_loaders(self, plan: BatchPlan) -> Mapping[str, EvaluationBatches]:
        """Return a loader for `train`, `val` and `test`: each example once, in order, without augmentation.

        With several processes each takes every `plan.world`-th example, so that none is seen twice.
        """
        return {name: self._in_order(rows, plan) for name, rows in self._rows.items()}

    def every_example(self, plan: BatchPlan) -> EvaluationBatches:
        """Return a loader for all images, whatever `split` and `label_fraction` say."""
        return self._in_order(np.arange(len(self._store(plan.device).labels)), plan)

    def _in_order(self, rows: Rows, plan: BatchPlan) -> EvaluationBatches:
        share = torch.from_numpy(rows[plan.rank :: plan.world].copy())
        return EvaluationBatches(self._store(plan.device), share, plan.batch_size, transform=plan.transform)

    def pictures(self, index: torch.Tensor) -> torch.Tensor:
        """Return the images of some rows: (n, C, H, W) uint8."""
        assert self._arrays is not None, "setup() comes first"
        return torch.from_numpy(self._arrays.images[index.cpu().numpy()])

    def _store(self, device: torch.device) -> ImageStore:
        assert self._arrays is not None, "setup() comes first"
        if device not in self._stores:
            self._stores[device] = ImageStore(self._arrays, self.spec, device)
        return self._stores[device]
