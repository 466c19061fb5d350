"""The contract of a data set: what it knows (DataSpec), what a loader is asked for (BatchPlan), what it yields."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ptft.errors import DataError

Batch = dict[str, Any]
"""Tensors with the domain's own names (image, label | input_ids, attention_mask, labels ...), all of the same first
dimension B, and always `index`: (B,) int64, the example's number in its data set."""


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What later commands must know of the data; travels with the model as `model/preprocessing.json`.

    Attributes:
        kind: `image` for now; tells which fields below mean something.
        shape: Shape of one example as the model sees it: (channels, height, width).
        classes: Class names in the order of their label numbers; empty without labels.
        mean: Per-channel mean of the training split, in [0, 1].
        std: Per-channel standard deviation of the training split, in [0, 1].
        fingerprint: Digest of the examples, their labels and their split.
        preprocessing: Whatever else decides what the model sees of an example, as plain JSON values: sides, resizing,
            background. A model is only used on data prepared in the same way.
    """

    kind: str
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fingerprint: str = ""
    preprocessing: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DataSpec":
        """Build a specification from what `to_json` returned."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What a loader is asked for.

    The training stream is an endless row of epochs, each a permutation of the training split; step k takes the
    positions [k * batch_size, (k + 1) * batch_size). So a batch may reach over the end of an epoch, every batch is
    full, nothing is dropped, and the number of the step is the whole cursor.

    Attributes:
        batch_size: Examples of one step over all ranks (training), or of one forward pass (evaluation).
        seed: Seed of the order and of the augmentation draws.
        start_step: The first step to yield; where a resumed run goes on.
        views: Independently augmented views of each example; with two or more the batch holds `views`:
            (B, views, C, H, W) in place of `image`.
        device: Where the batches must lie.
        rank: This process among `world`; a rank takes its share of each global batch.
        world: The number of processes.
        num_workers: Threads that make batches ahead; 0 makes them in the training thread. Never changes a value.
    """

    batch_size: int
    seed: int = 0
    start_step: int = 0
    views: int = 1
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world: int = 1
    num_workers: int = 0


class DataModule(ABC):
    """A data set with its splits, its preprocessing and its loaders."""

    @abstractmethod
    def setup(self, spec: DataSpec | None = None) -> None:
        """Read the data and split them; fit the preprocessing on the training split, or take it from `spec` unchanged.

        Raises:
            DataError: The data are missing, empty, damaged, or do not fit `spec`.
        """

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What the data know, once set up."""

    @property
    @abstractmethod
    def num_examples(self) -> int | None:
        """Examples in the training split; None for a stream."""

    @abstractmethod
    def train_loader(self, plan: BatchPlan) -> Iterable[Batch]:
        """Yield augmented training batches without end, from `plan.start_step` on, on `plan.device`."""

    @abstractmethod
    def evaluation_loaders(self, plan: BatchPlan) -> Mapping[str, Iterable[Batch]]:
        """Return a loader for each split (`train`, `val`, `test`): each example once, not augmented.

        The order is always the same, and the first examples stand for all: some tasks and settings look at no more.
        """

    def every_example(self, plan: BatchPlan) -> Iterable[Batch]:
        """Return a loader for all examples, in whatever split or none, as `evaluation_loaders` does for each split.

        Raises:
            DataError: The data cannot give them in one row.
        """
        raise DataError(f"split=all: {type(self).__name__} gives its examples by split; choose split=test")

    def describe(self) -> str:
        """Return one line on the data for the console: sizes of the splits, shape, classes."""
        return ""

    def warnings(self) -> Sequence[str]:
        """Return what a person should know of the data before training on them: duplicates across splits, say."""
        return ()

    def rejected(self) -> Sequence[Mapping[str, Any]]:
        """Return the examples left out so far, as rows of bad_samples.jsonl: which file, and why."""
        return ()

    def attributes(self) -> Mapping[str, Sequence[str]]:
        """Return further columns of the data (of a csv, say) by name, one text an example; place i is `index` i."""
        return {}

    def paths(self) -> Sequence[str]:
        """Return each example's file, relative to the folder of the data; place i is `index` i; empty: no files."""
        return ()

    def pictures(self, index: Tensor) -> Tensor:
        """Return examples to look at: (n, C, H, W) uint8 as evaluated, not normalised, for (n,) values of `index`.

        Raises:
            DataError: The data are no pictures.
        """
        raise DataError(f"{type(self).__name__} holds no pictures to show")
