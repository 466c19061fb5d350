"""The contract of a data set: what it knows (DataSpec), what a loader is asked for (BatchPlan), what it yields."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptft.errors import DataError
from ptft.runtime.random import Draws

Batch = dict[str, Any]
"""Tensors with the domain's own names (image, label | input_ids, attention_mask, labels ...), all of the same first
dimension B, and always `index`: (B,) int64, the example's number in its data set."""


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What later commands must know of the data; travels with the model as `model/preprocessing.json`.

    Attributes:
        kind: `image` or `text`; tells which fields below mean something.
        shape: Shape of one example as the model sees it: (channels, height, width), or (tokens at most,).
        classes: Class names in the order of their label numbers; empty without labels.
        class_counts: Examples of each class in the training split, those that a loss may be weighted by; with the
            target `labels`, those that carry it. Empty: not told.
        value_mean: With the target `value`: the mean of the training labels.
        value_std: Their standard deviation.
        mean: Per-channel mean of the training split, in [0, 1].
        std: Per-channel standard deviation of the training split, in [0, 1].
        fingerprint: Digest of the examples, their labels and their split.
        preprocessing: Whatever else decides what the model sees of an example, as plain JSON values: sides, resizing,
            background. A model is only used on data prepared in the same way.
        inputs: Names of the batch's tensors that a network takes, in the order of its arguments.
        target: What the labels are: `class` (one of the classes, an example), `labels` (any number of them), `value`
            (a number), `tags` (a class a token), `span` (an answer within the text), `tokens` (the text itself).
        output: What the task wants of the network, a word of `ptft.model.spec`; the builder sets it, it is not saved.
        vocab_size: Token numbers lie in [0, vocab_size); 0: no text.
        special_tokens: Token numbers by role, those there are: pad, unk, cls, sep, mask, bos, eos.
        files: Texts by file name (tokenizer.json) that lie beside preprocessing.json, as other libraries read them.
    """

    kind: str
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    value_mean: float = 0.0
    value_std: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fingerprint: str = ""
    preprocessing: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inputs: tuple[str, ...] = ("image",)
    target: str = "class"
    output: str = "classes"
    vocab_size: int = 0
    special_tokens: Mapping[str, int] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return the specification as plain JSON values; of `files` only the names, as their texts lie beside it."""
        values = dataclasses.asdict(self)
        del values["output"]
        return {**values, "files": sorted(self.files)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], read: Callable[[str], str] | None = None) -> "DataSpec":
        """Build a specification from what `to_json` returned.

        Args:
            values: The JSON values.
            read: Returns the text of a file by its name; None: `files` stays empty.
        """
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        names = fields.pop("files", ())
        return cls(**fields, files={name: read(name) for name in names} if read is not None else {})


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
        transform: What the task adds to every batch, last of all (`Task.transform`): masked tokens, say. Its draws are
            those of the example in its epoch; in evaluation they are always the same. None: nothing.
    """

    batch_size: int
    seed: int = 0
    start_step: int = 0
    views: int = 1
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world: int = 1
    num_workers: int = 0
    transform: Callable[[Batch, Draws], Batch] | None = None


def transformed(
    batch: Batch, transform: Callable[[Batch, Draws], Batch] | None, seed: int = 0, epoch: Tensor | None = None
) -> Batch:
    """Return a batch with what the task adds to it: the last thing that a loader does.

    Args:
        batch: The batch.
        transform: `BatchPlan.transform`.
        seed: Seed of the draws; in evaluation 0.
        epoch: (B,) int64, the epoch of each example; None, in evaluation: 0.
    """
    if transform is None:
        return batch
    index = batch["index"]
    draws = Draws(seed, torch.zeros_like(index) if epoch is None else epoch, index)
    return transform(batch, draws.child("task"))


class DataModule(ABC):
    """A data set with its splits, its preprocessing and its loaders."""

    @property
    def title(self) -> str:
        """What messages call the data: the name of the class's file."""
        return type(self).__module__.rpartition(".")[2]

    def start_from(self, folder: Path) -> None:  # noqa: B027 - most data take nothing over
        """Take over what the weights in a folder expect of the data, a tokenizer say; nothing by default.

        Called before `setup`, and only where a new run starts from weights.

        Raises:
            DataError: The folder holds something that these data cannot follow.
        """

    def restore(self, spec: DataSpec) -> None:
        """Take the preprocessing of a run without reading any data; enough for `batch_of`.

        Raises:
            DataError: These data cannot be predicted on.
        """
        raise DataError(f"{type(self).__name__} cannot be predicted on")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that `batch_of` reads of a row, the first of them required: `text`, `text_pair`, `file` ..."""
        return ()

    def batch_of(self, rows: Sequence[Mapping[str, Any]], device: torch.device) -> Batch:
        """Return new examples as a batch, prepared as for evaluation; `index` is the place in `rows`.

        A row that becomes several windows stands in the batch as often, with the same `index`.

        Args:
            rows: What a user gives: a text, or the path of a picture, by `fields`.
            device: Where the batch must lie.

        Raises:
            RowError: A row cannot be read; it says which.
        """
        raise DataError(f"{type(self).__name__} cannot be predicted on")

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

    def texts(self, index: Tensor) -> Sequence[str]:
        """Return examples to read: one text for each of (n,) values of `index`.

        Raises:
            DataError: The data are no texts.
        """
        raise DataError(f"{type(self).__name__} holds no texts to show")
