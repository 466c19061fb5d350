"""Batches of texts of about the same length, so that little is padding, in an order that is a pure function.

The training stream is that of all data: an endless row of epochs, each a keyed permutation. A window of it - the
examples of `length_window` steps - is sorted by length and cut into batches, and these batches are mixed again. So each
example of the window comes exactly once, the batch of a step follows from (plan.seed, step) alone, and a resumed run
goes on exactly.
"""

from collections.abc import Generator, Iterator
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from ptft.data.data_module import Batch, BatchPlan, transformed
from ptft.data.text.encoded import Encoded
from ptft.data.text.rows import Rows
from ptft.runtime.prefetch import prefetch
from ptft.runtime.random import permute, seed_for, stream_indices

EVALUATION_TOKENS = 1 << 14
"""Tokens of a batch in evaluation at most, padding included; attention over more takes much memory."""
_WINDOW = 1 << 12
"""Entries that evaluation sorts by length at a time: the first ones stand for all, so it is not the whole split."""
_MIXED = 7
"""Keeps the order of a window's batches apart from other draws with the same seed."""


class TrainingTexts:
    """Makes the training batch of a step: a pure function of (plan.seed, step)."""

    def __init__(
        self, encoded: Encoded, entries: Rows, plan: BatchPlan, length_window: int = 32, num_workers: int = 0
    ) -> None:
        """Prepare batches of some entries, (N,) int64, sorted by length within windows of so many steps."""
        self._encoded = encoded
        self._entries = entries
        self._lengths = torch.from_numpy(encoded.lengths[entries])
        self._plan = plan
        self._steps = length_window
        self._num_workers = num_workers
        # Each rank's share of the global batch is contiguous, so that the shares in order make up the batch.
        self._share = slice(plan.batch_size * plan.rank // plan.world, plan.batch_size * (plan.rank + 1) // plan.world)
        self._window = lru_cache(maxsize=2)(self._sorted)  # threads may be in two windows at once

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yield the batches from plan.start_step on."""
        return prefetch(self._make, self._plan.start_step, self._num_workers, self._plan.device)

    @torch.no_grad()
    def _make(self, step: int) -> Batch:
        place, epoch = self.examples(step)
        place, epoch = place[self._share], epoch[self._share]
        batch = self._encoded.gather(self._entries[place.numpy()])
        return transformed(batch, self._plan.transform, self._plan.seed, epoch)

    def examples(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the places among the entries and the epochs, (batch_size,) int64 each, of the global batch of a step.

        They stand in the order of the stream, not by length: shares of ranks and micro-batches are alike.
        """
        number, within = divmod(step, self._steps)
        place, epoch, batches = self._window(number)
        chosen = batches[within]
        return place[chosen], epoch[chosen]

    def _sorted(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return places and epochs of a window as the stream has them, and which go together: (steps, batch_size)."""
        plan, steps = self._plan, self._steps
        place, epoch = stream_indices(number, plan.batch_size * steps, len(self._entries), plan.seed)
        if steps == 1:
            return place, epoch, torch.arange(plan.batch_size)[None]
        by_length = torch.argsort(self._lengths[place], stable=True).view(steps, plan.batch_size)
        mixed = permute(torch.arange(steps), steps, seed_for(plan.seed, _MIXED), number)
        return place, epoch, by_length[mixed].sort(1).values


class EvaluationTexts:
    """Some examples, each once (with all its windows), without a change; in an order that is always the same.

    A batch holds at most plan.batch_size entries and about `EVALUATION_TOKENS` tokens, texts of about the same length.
    """

    def __init__(self, encoded: Encoded, rows: Rows, plan: BatchPlan, num_workers: int = 0) -> None:
        """Prepare batches of the examples `rows`, (N,) int64; with several processes each takes its share of them."""
        self._encoded = encoded
        self._plan = plan
        self._num_workers = num_workers
        # Data often come class by class: the first examples would be of one class. Of equal rows it is one order.
        self._rows = rows[permute(torch.arange(len(rows)), len(rows), 0, 0)[plan.rank :: plan.world].numpy()]

    @cached_property
    def _batches(self) -> list[Rows]:
        """The entries of each batch; found when the split is read, as most are not."""
        return list(_cut(self._encoded, self._rows, self._plan.batch_size))

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._batches)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Go through the examples once more."""
        return prefetch(self._make, 0, self._num_workers, self._plan.device, stop=len(self))

    @torch.no_grad()
    def _make(self, number: int) -> Batch:
        return transformed(self._encoded.gather(self._batches[number]), self._plan.transform)


def _cut(encoded: Encoded, rows: Rows, most: int) -> Iterator[Rows]:
    """Yield the entries of each batch, window by window; within a window the batches are mixed again."""
    first = np.searchsorted(encoded.index, rows, side="left")
    last = np.searchsorted(encoded.index, rows, side="right")
    entries = np.concatenate([np.arange(*pair) for pair in zip(first, last, strict=True)] or [np.arange(0)])
    lengths = encoded.lengths
    for start in range(0, len(entries), _WINDOW):
        window = entries[start : start + _WINDOW]
        window = window[np.argsort(lengths[window], kind="stable")]
        batches, begin = [], 0
        for end in range(1, len(window) + 1):
            # By length: the last one is the longest, and what the batch is padded to.
            full = end == len(window) or end - begin == most
            if full or (end + 1 - begin) * encoded.width(int(lengths[window[end]])) > EVALUATION_TOKENS:
                batches.append(window[begin:end])
                begin = end
        yield from (batches[place] for place in permute(torch.arange(len(batches)), len(batches), 0, start).tolist())
