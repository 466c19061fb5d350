"""Pictures in files as a data set: listed, screened, divided; decoded in threads, finished by the batch on the device.

A subclass lists the files; everything else is here. The batch of step k is a pure function of (plan.seed, k).
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ptft.data import overlap
from ptft.data.bad_samples import BadSamples
from ptft.data.data_module import Batch, BatchPlan, DataSpec
from ptft.data.download import cache_folder
from ptft.data.file_contents import Contents, fingerprint, read_contents
from ptft.data.image_arrays import Rows, check_fit, statistics_of
from ptft.data.image_batches import Augmentation, EvaluationBatches, TrainingBatches
from ptft.data.image_cache import build_cache
from ptft.data.image_files import ImageFiles, Pictures
from ptft.data.image_frames import FrameStore
from ptft.data.listing import Listing, check_several_classes, listed
from ptft.data.new_pictures import PictureModule
from ptft.data.screening import left_out_note, memory_path, most_bad, reason_in, screen
from ptft.data.split import Split, class_counts, divide, keep_labels, sample_rows
from ptft.data.split_groups import group_names, number_groups
from ptft.errors import ConfigError, DataError
from ptft.runtime.random import permute
from ptft.runtime.threads import cores, map_in_threads
from ptft.types import NonNegativeInt, PositiveInt, PositiveShare, UnitFloat

IMAGENET: tuple[tuple[float, ...], ...] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's channels in [0, 1], as torchvision's and transformers' weights expect."""
STATISTICS_FROM = 2048
"""Training pictures that `normalisation=train` looks at, at most."""
_AT_ONCE = 32  # pictures that a thread reads at once for the statistics


@dataclass(eq=False, repr=False)
class FilePictures(PictureModule):
    """Pictures in files, of any size, decoded while training.

    `index` is the number of the picture in the listing, without those left out, the same in every split.

    Attributes:
        augmentations: Applied in turn to training batches; the first may cut windows out of the pictures as decoded.
        path: Folder of the pictures; nothing outside it is read.
        label_fraction: Share of the training labels to keep, above 0; the training split shrinks to them (see
            `keep_labels`), the other splits do not.
        num_workers: Threads that make batches ahead; auto: one for each core, and at least 2.
        allow_changed: Read by resume: go on although the fingerprint is another.
        split: How to divide; a config gives a mapping of the fields of `Split`.
        size: Side of what the model sees, in pixels.
        resize: Short side that pictures are resized to before the centre is cut out for evaluation; None: size / 0.875.
        channels: 3: red, green, blue; 1: grey.
        background: What shows under transparent pixels.
        normalisation: imagenet: its mean and standard deviation, which pre-trained weights expect; train: fitted on up
            to `STATISTICS_FROM` pictures of the training split, as evaluated.
        cache: Short side of decoded pictures kept on the disk, shared by all runs on the same files; None: none are.
        cache_folder: Where; None: $XDG_CACHE_HOME/ptft or ~/.cache/ptft.
        on_bad_sample: error: stop at the first picture that cannot be read; skip: leave those out and list them.
        max_bad: Largest share of the pictures that may be left out.
    """

    augmentations: Sequence[Augmentation]
    _: KW_ONLY
    path: str | None = None
    label_fraction: PositiveShare = 1.0
    num_workers: NonNegativeInt | Literal["auto"] = "auto"
    allow_changed: bool = False
    split: Split | None = None
    size: PositiveInt = 224
    resize: PositiveInt | None = None
    channels: Literal[1, 3] = 3
    background: Literal["white", "black"] = "white"
    normalisation: Literal["imagenet", "train"] = "imagenet"
    cache: PositiveInt | None = None
    cache_folder: str | None = None
    on_bad_sample: Literal["error", "skip"] = "error"
    max_bad: UnitFloat = 0.01

    def __post_init__(self) -> None:
        """Check the settings; nothing is read before `setup`.

        Raises:
            ConfigError: A setting is out of range, or two do not go together.
        """
        if not 0 < self.label_fraction <= 1:
            raise ConfigError(f"data.label_fraction takes a share above 0 and at most 1, found {self.label_fraction}")
        self._division = Split.of(self.split)
        self._resize = self.resize or self.default_resize()
        if self._resize < self.size:
            raise ConfigError(
                f"data.resize={self._resize} is the short side that a centre of data.size={self.size} is cut from; "
                f"give at least {self.size}"
            )
        if self.cache is not None and self.cache < self._resize:
            raise ConfigError(
                f"data.cache={self.cache} keeps less than the short side of {self._resize} that evaluation takes "
                f"(data.resize; left out, it follows from data.size); give data.cache={self._resize} or more"
            )
        self._files: _Files | None = None
        self._bad = BadSamples()
        self._groups: tuple[str, ...] | None = None
        self._rows: dict[str, Rows] = {}
        self._spec: DataSpec | None = None
        self._told: list[str] = []
        self._left_out: list[dict[str, Any]] = []
        self._stores: dict[torch.device, FrameStore] = {}

    # ---- What a subclass says ---------------------------------------------------------------------------------------

    @abstractmethod
    def list_files(self) -> Listing:
        """List the pictures.

        Raises:
            DataError: There are none, or something about them is wrong.
        """

    def default_resize(self) -> int:
        """Return the short side for evaluation where the config gives none: so that 7/8 of it are seen."""
        return round(self.size / 0.875)

    def refuses_overlap(self) -> bool:
        """Tell whether copies or groups in several of the given splits are an error, not a warning."""
        return False

    # ---- Setting up -------------------------------------------------------------------------------------------------

    def setup(self, spec: DataSpec | None = None) -> None:
        """List, screen and divide the pictures; fit mean and standard deviation if asked for, or take them from `spec`.

        With a `spec`, `self.spec` is that one with the fingerprint of the data read now.

        Raises:
            DataError: The data are missing, empty, damaged, of one class only, or do not fit `spec`.
            ConfigError: `split.group` names no group.
        """
        whole = self.list_files()
        contents = read_contents(whole.root, whole.paths)
        kept = self._screened(whole, contents)
        listing, contents = whole.take(kept), contents.take(kept, len(whole))
        check_several_classes(listing, self.title)
        group = self._division.group
        self._groups = group_names(group, listing.paths, listing.columns) if group is not None else None
        rows = self._divided(listing, contents)
        self._told = self._notes(listing, contents, rows)
        files = ImageFiles(listing.root, listing.paths, channels=self.channels, background=self.background)
        self._stores.clear()
        self._files = _Files(listing, self._cached(files, contents))
        own = self._described(rows["train"], spec)
        if spec is not None:
            check_fit(own, spec, self.title)
            own = spec
        rows["train"] = keep_labels(listing.labels, rows["train"], self.label_fraction, self._division)
        counts = own.class_counts or class_counts(listing.labels[rows["train"]], own.num_classes)
        digest = fingerprint(contents, listing, rows, kept)
        self._rows, self._spec = rows, dataclasses.replace(own, class_counts=counts, fingerprint=digest)

    def _screened(self, listing: Listing, contents: Contents) -> Rows:
        """Return the rows of the pictures that can be read, as far as `on_bad_sample` looks."""
        files = ImageFiles(listing.root, listing.paths, channels=self.channels, background=self.background)
        memory = memory_path(self._folder(), contents.fingerprint, self.channels)
        bad = screen(files, self.on_bad_sample, self.max_bad, memory, self._threads())
        self._left_out = [{"path": listing.paths[row], "reason": reason} for row, reason in sorted(bad.items())]
        # What breaks later counts together with what was bad from the beginning.
        most = most_bad(self.max_bad, len(listing)) - len(bad) if self.on_bad_sample == "skip" else None
        self._bad = BadSamples(most=most)
        if len(bad) == len(listing):
            raise DataError(f"{self.title}: none of the {len(listing):,} pictures can be read")
        return np.setdiff1d(np.arange(len(listing)), sorted(bad))

    def _divided(self, listing: Listing, contents: Contents) -> dict[str, Rows]:
        """Return the rows of each split; exact copies stay together where ptft divides."""
        if listing.splits is not None and "train" not in listing.splits:
            raise DataError(f"{self.title}: no picture belongs to train; there are {listed(listing.splits)}")
        groups = number_groups(self._groups, contents.copies, len(listing))
        rows = divide(listing.labels, self._division, given=listing.splits, groups=groups)
        missing = np.setdiff1d(listing.labels, listing.labels[rows["train"]])
        if len(missing):
            names = listed(listing.classes[number] for number in missing)
            raise DataError(
                f"{self.title}: no training example of {names}; use data.split.stratify=true, smaller groups, more data"
            )
        return rows

    def _notes(self, listing: Listing, contents: Contents, rows: Mapping[str, Rows]) -> list[str]:
        """Return what a person should know before training.

        Raises:
            DataError: Splits overlap, and the data refuse that.
        """
        groups = number_groups(self._groups, (), len(listing))
        shared = overlap.overlaps(listing, contents.copies, groups, rows)
        if shared and self.refuses_overlap():
            raise DataError(f"{self.title}: {'; '.join(shared)}. data.fail_on_overlap=false goes on with a warning")
        notes = [*listing.notes, *left_out_note(self._left_out), *shared]
        return notes + overlap.copy_notes(listing, contents.copies) + overlap.unseen_classes(listing, rows)

    def _cached(self, files: ImageFiles, contents: Contents) -> Pictures:
        """Return the pictures as they are read while training: from their files, or from the cache, made if need be."""
        if self.cache is None:
            return files
        cache, warning = build_cache(files, self.cache, self._folder(), contents.fingerprint, self._threads())
        self._told += [warning] if warning else []
        return cache

    def _described(self, train: Rows, spec: DataSpec | None) -> DataSpec:
        """Return what the data know but for their fingerprint; where `spec` gives the statistics no picture is read."""
        mean, std = (values if self.channels == 3 else (sum(values) / 3,) for values in IMAGENET)
        own = DataSpec(
            kind="image",
            shape=(self.channels, self.size, self.size),
            classes=self._content.listing.classes,
            mean=mean,
            std=std,
            preprocessing={"resize": self._resize, "background": self.background},
        )
        if self.normalisation == "imagenet" or spec is not None:
            return own
        store = self._new_store(own, torch.device("cpu"))
        rows = torch.from_numpy(sample_rows(train, STATISTICS_FROM, self._division))
        frames = map_in_threads(store.frames, torch.split(rows, _AT_ONCE), self._threads(), at_once=1)
        mean, std = statistics_of(part.numpy() for part in frames)
        return dataclasses.replace(own, mean=mean, std=std)

    # ---- What others ask for ----------------------------------------------------------------------------------------

    @property
    def num_examples(self) -> int:
        """Examples in the training split, after `label_fraction`."""
        return len(self._rows["train"])

    def describe(self) -> str:
        """Return one line on the data for the console: sizes of the splits, shape, classes."""
        sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in self._rows.items())
        kept = "" if self.label_fraction == 1 else f" (label_fraction={self.label_fraction:g})"
        shape = "x".join(str(side) for side in self.spec.shape)
        classes = f"{self.spec.num_classes} classes" if self.spec.classes else "no labels"
        left_out = f"; {len(self.rejected()):,} left out" if self.rejected() else ""
        return f"{self.title}: {sizes}{kept}; {shape}, {classes}{left_out}"

    def warnings(self) -> Sequence[str]:
        """Return what a person should know: files passed over or left out, exact copies, groups cut in two."""
        return tuple(self._told)

    def rejected(self) -> Sequence[Mapping[str, Any]]:
        """Return the pictures left out so far: their path relative to the folder, and why."""
        if self._files is None:
            return tuple(self._left_out)
        listing = self._files.listing
        later = [
            {"path": listing.paths[row], "reason": reason_in(told, listing.root / listing.paths[row])}
            for row, told in self._bad.found().items()
        ]
        return (*self._left_out, *later)

    def attributes(self) -> Mapping[str, Sequence[str]]:
        """Return the columns of the data; `folder`, where a picture lies; and `group` if `split.group` is set."""
        listing = self._content.listing
        own = {"folder": listing.folders()}
        if self._groups is not None:
            own["group"] = tuple(group or path for group, path in zip(self._groups, listing.paths, strict=True))
        return {**own, **listing.columns}

    def paths(self) -> Sequence[str]:
        """Return the files, relative to the folder."""
        return self._content.listing.paths

    def train_loader(self, plan: BatchPlan) -> Generator[Batch, None, None]:
        """Yield augmented training batches without end, from `plan.start_step` on, on `plan.device`."""
        rows = torch.from_numpy(self._rows["train"])
        return iter(TrainingBatches(self._store(plan.device), rows, plan, self.augmentations, self._workers()))

    def evaluation_loaders(self, plan: BatchPlan) -> Mapping[str, EvaluationBatches]:
        """Return a loader for `train`, `val` and `test`: each example once, in a mixed order, without augmentation.

        With several processes each takes every `plan.world`-th example, so that none is seen twice.
        """
        return {name: self._loader(rows, plan) for name, rows in self._rows.items()}

    def every_example(self, plan: BatchPlan) -> EvaluationBatches:
        """Return a loader for all pictures but those left out as bad, whatever `split` and `label_fraction` say."""
        return self._loader(np.arange(len(self._content.listing)), plan)

    def _loader(self, rows: Rows, plan: BatchPlan) -> EvaluationBatches:
        # A listing goes class by class: the first examples of it would be of one class. Of equal rows it is one order.
        order = permute(torch.arange(len(rows)), len(rows), 0, 0)[plan.rank :: plan.world]
        share = torch.from_numpy(rows)[order]
        return EvaluationBatches(self._store(plan.device), share, plan.batch_size, self._workers(), plan.transform)

    def pictures(self, index: Tensor) -> Tensor:
        """Return some pictures as evaluated: (n, C, S, S) uint8."""
        return self._store(torch.device("cpu")).frames(index.cpu())

    def _store(self, device: torch.device) -> FrameStore:
        if device not in self._stores:
            self._stores[device] = self._new_store(self.spec, device)
        return self._stores[device]

    def _new_store(self, spec: DataSpec, device: torch.device) -> FrameStore:
        content = self._content
        return FrameStore(
            content.files, content.listing.labels, spec, device, size=self.size, resize=self._resize, bad=self._bad
        )

    @property
    def _content(self) -> "_Files":
        assert self._files is not None, "setup() comes first"
        return self._files

    def _folder(self) -> Path:
        return Path(self.cache_folder).expanduser() if self.cache_folder is not None else cache_folder()

    def _workers(self) -> int:
        """Return how many threads make batches; 0: none beside the one that trains."""
        return self.num_workers if self.num_workers != "auto" else max(2, cores())

    def _threads(self) -> int:
        """Return how many threads look at all pictures while the data are set up."""
        return max(1, self._workers())


@dataclass(frozen=True)
class _Files:
    """The pictures that are used, and how they are read."""

    listing: Listing
    files: Pictures
