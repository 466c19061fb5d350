"""Frames: pictures of any size cut and resized to the one size that a model sees, by threads, into one batch of bytes.

For training, a window that the augmentation draws is cut out of each picture as decoded and resized once. For
evaluation the short side is resized and the centre cut out. Both by bilinear sampling with antialiasing, which on bytes
whose channels lie side by side is torch's fastest path: 0.15 ms a picture.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.data.bad_samples import BadSamples
from ptft.data.data_module import BatchPlan, DataSpec
from ptft.data.image_arrays import Rows
from ptft.data.image_batches import Augmentation, Gathering, Normaliser, step_name
from ptft.data.image_files import Pictures
from ptft.errors import DataError
from ptft.runtime.prefetch import Pieces
from ptft.runtime.random import Draws

LONGEST = 4
"""Of a picture that is longer than so many times its short side, the middle is resized for evaluation: a strip of
1 x 100,000 pixels would take gigabytes."""


class Windows(Protocol):
    """A first step of an augmentation that cuts windows out of pictures of any size."""

    def windows(self, size: Tensor, draws: Draws) -> Tensor:
        """Return a window within each picture: (B, 4) float32 of top, left, height, width in pixels.

        Args:
            size: (B, 2) int64: height and width of each picture.
            draws: Draws of the B examples.
        """
        ...


class FrameStore:
    """Pictures read one by one and made into frames; what training and evaluation batches are drawn from.

    Attributes:
        target: Where the batches are wanted.
        device: The CPU, where frames are made.
        normalise: Makes what the model sees of a batch, on the target.
    """

    def __init__(
        self,
        pictures: Pictures,
        labels: Rows,
        spec: DataSpec,
        target: torch.device,
        *,
        size: int,
        resize: int,
        bad: BadSamples | None = None,
    ) -> None:
        """Keep the settings; nothing is read.

        Args:
            pictures: The pictures, in files or cached.
            labels: (N,) class numbers.
            spec: Shape and statistics of what the model sees.
            target: Where the batches are wanted.
            size: Side of a frame, in pixels.
            resize: Short side of a picture before its centre is cut out for evaluation; at least `size`.
            bad: What becomes of pictures that cannot be read; None: the first one is an error.
        """
        assert resize >= size
        self.target = target
        self.device = torch.device("cpu")
        self.normalise = Normaliser(spec, target)
        self._pictures = pictures
        self._labels = torch.from_numpy(np.array(labels, dtype=np.int64))
        self._channels = spec.shape[0]
        self._size = size
        self._resize = resize
        self._bad = bad or BadSamples()

    # ---- Training

    def training(
        self, rows: Tensor, plan: BatchPlan, augmentations: Sequence[Augmentation], num_workers: int
    ) -> Gathering:
        """Return how training batches of the examples `rows`, (N,) int64, are gathered by so many threads.

        When the first step of the augmentation has a method `windows`, it is applied here: one window for each view.
        """
        cuts = bool(augmentations) and hasattr(augmentations[0], "windows")
        cutter = cast(Windows, augmentations[0]) if cuts else None
        drawn = _Drawn(cutter, plan.seed, plan.views) if cutter is not None else None
        share = -(-plan.batch_size // plan.world)
        ahead = 2 + -(-num_workers // _pieces(share, num_workers)) if num_workers else None
        gather = partial(self._gather_training, rows, drawn, num_workers)
        return Gathering(gather, applied=int(cuts), ahead=ahead)

    def _gather_training(
        self, rows: Tensor, drawn: "_Drawn | None", num_workers: int, index: Tensor, epoch: Tensor
    ) -> Pieces:
        views = drawn.views if drawn is not None else 1
        frames = self._empty(len(index) * views)
        taken = index.clone()  # which examples came: others where pictures could not be read
        windows = drawn(self._sizes(index), index, epoch) if drawn is not None else None

        def make(place: int) -> None:
            number, out = int(index[place]), frames[place * views : (place + 1) * views]
            own = windows[place] if windows is not None else None
            for _ in range(len(rows)):
                try:
                    self._make(number, own, out)
                    taken[place] = number
                    return
                except DataError as error:
                    self._bad.note(number, error)
                number = _next_of(rows, number)
                if drawn is not None:
                    other = torch.tensor([number])
                    own = drawn(self._sizes(other), other, epoch[place : place + 1])[0]
            raise DataError("none of the training pictures can be read")

        def join() -> dict[str, Tensor]:
            return {"image": frames.permute(0, 3, 1, 2), "label": self._labels.index_select(0, taken), "index": taken}

        return Pieces(_shared(make, len(index), num_workers), join)

    def _make(self, number: int, windows: Tensor | None, out: Tensor) -> None:
        """Read a picture and write its frames.

        Args:
            number: Which picture.
            windows: (views, 4) float32, in pixels of the picture in full; None: one frame as evaluated.
            out: (views, size, size, C) uint8, written to.
        """
        if windows is None:
            out[0] = self._evaluated(number)
            return
        height, width = self._pictures.size(number)
        smallest = float(windows[:, 2:].min())
        # The picture may come smaller as long as no window becomes smaller than a frame.
        picture = self._pictures.read(number, math.ceil(min(height, width) * self._size / max(smallest, 1.0)))
        down, across = picture.shape[1] / height, picture.shape[2] / width
        for frame, (top, left, high, wide) in zip(out, windows.tolist(), strict=True):
            rows = _span(top * down, high * down, picture.shape[1])
            columns = _span(left * across, wide * across, picture.shape[2])
            frame.copy_(resized(picture[:, rows, columns], self._size, self._size))

    def _sizes(self, index: Tensor) -> Tensor:
        """Return (B, 2) int64 height and width; 1 x 1 for a picture that cannot be read, which reading it tells."""
        sizes = []
        for number in index.tolist():
            try:
                sizes.append(self._pictures.size(number))
            except DataError:
                sizes.append((1, 1))
        return torch.tensor(sizes, dtype=torch.int64).view(-1, 2)

    # ---- Evaluation

    def evaluation(self, rows: Tensor, num_workers: int) -> Pieces:
        """Return how the frames of some rows are gathered as evaluated; those that cannot be read are left out."""
        frames = self._empty(len(rows))
        good = torch.ones(len(rows), dtype=torch.bool)

        def make(place: int) -> None:
            try:
                frames[place] = self._evaluated(int(rows[place]))
            except DataError as error:
                self._bad.note(int(rows[place]), error)
                good[place] = False

        def join() -> dict[str, Tensor]:
            index = rows[good]
            kept = frames if len(index) == len(rows) else frames[good]
            return {"image": kept.permute(0, 3, 1, 2), "label": self._labels.index_select(0, index), "index": index}

        return Pieces(_shared(make, len(rows), num_workers), join)

    def frames(self, index: Tensor) -> Tensor:
        """Return some pictures as evaluated, not normalised: (n, C, size, size) uint8.

        Raises:
            DataError: One cannot be read.
        """
        frames = self._empty(len(index))
        for place, number in enumerate(index.tolist()):
            frames[place] = self._evaluated(number)
        return frames.permute(0, 3, 1, 2)

    def _evaluated(self, number: int) -> Tensor:
        """Return a picture with its short side resized and its centre cut out: (size, size, C) uint8."""
        picture = _middle(self._pictures.read(number, self._resize))
        height, width = picture.shape[1:]
        # As torchvision's Resize and CenterCrop round.
        high = self._resize if height <= width else self._resize * height // width
        wide = self._resize if width <= height else self._resize * width // height
        frame = resized(picture, high, wide)
        top, left = round((high - self._size) / 2), round((wide - self._size) / 2)
        return frame[top : top + self._size, left : left + self._size]

    def _empty(self, count: int) -> Tensor:
        return torch.empty(count, self._size, self._size, self._channels, dtype=torch.uint8)


class _Drawn:
    """The windows of examples in their epochs: as many for each as there are views."""

    def __init__(self, cutter: Windows, seed: int, views: int) -> None:
        self.views = views
        self._cutter = cutter
        self._seed = seed

    def __call__(self, size: Tensor, index: Tensor, epoch: Tensor) -> Tensor:
        """Return (B, views, 4) float32 for pictures of `size`, (B, 2), numbered `index`, (B,), in epochs (B,)."""
        draws = Draws(self._seed, epoch, index)
        if self.views > 1:
            draws, size = draws.repeat(self.views), size.repeat_interleave(self.views, 0)
        # The draws that the step would have if it were called with a batch.
        return self._cutter.windows(size, draws.child(step_name(0))).view(-1, self.views, 4)


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    """Return a picture, (C, H, W) uint8 over (H, W, C) memory, resized: (height, width, C)."""
    if tuple(picture.shape[1:]) == (height, width):
        return picture.permute(1, 2, 0)
    # Adding the dimension before permuting gives it a stride by which torch sees that channels come last.
    batch = picture.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    return F.interpolate(batch, (height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0)


def _middle(picture: Tensor) -> Tensor:
    """Return the middle of a picture that is longer than LONGEST times its short side, else all of it."""
    most = LONGEST * min(picture.shape[1:])
    for axis in (1, 2):
        if picture.shape[axis] > most:
            picture = picture.narrow(axis, (picture.shape[axis] - most) // 2, most)
    return picture


def _span(start: float, length: float, side: int) -> slice:
    """Return whole pixels, at least one, within a side of `side` pixels."""
    first = min(max(round(start), 0), side - 1)
    return slice(first, min(max(round(start + length), first + 1), side))


def _next_of(rows: Tensor, number: int) -> int:
    """Return the row after `number`, the first after the last; of a number that is none of the rows, the first."""
    places = (rows == number).nonzero()
    return int(rows[(int(places[0]) + 1) % len(rows)]) if len(places) else int(rows[0])


def _pieces(count: int, num_workers: int) -> int:
    """Return into how many pieces a batch of `count` pictures is cut: two for each thread, as some take longer."""
    return max(1, min(count, 2 * num_workers))


def _shared(make: Callable[[int], None], count: int, num_workers: int) -> list[Callable[[], None]]:
    """Return pieces of work that together call make(place) for each place below `count`."""
    bounds = np.linspace(0, count, _pieces(count, num_workers) + 1).round().astype(int).tolist()

    def several(begin: int, end: int) -> None:
        for place in range(begin, end):
            make(place)

    return [partial(several, begin, end) for begin, end in itertools.pairwise(bounds)]
