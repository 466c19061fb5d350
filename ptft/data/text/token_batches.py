"""Batches of blocks from a token store: that of a step is a pure function of (plan.seed, step).

The training stream is that of all data: an endless row of epochs, each a keyed permutation of the blocks, of which no
list is ever made.
"""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ptft.data.data_module import Batch, BatchPlan, transformed
from ptft.data.text.packed import Blocks
from ptft.runtime.prefetch import prefetch
from ptft.runtime.random import permute, stream_indices

_EVALUATION_TOKENS = 1 << 14
"""Tokens of a batch in evaluation, at most."""
_EVALUATION_LOGITS = 1 << 26
"""Tokens times vocabulary of a batch in evaluation, at most: a model that tells every token gives so many numbers."""


@dataclass(frozen=True)
class Kept:
    """The blocks that are used: `count` of `size`, drawn by a key, or all of them."""

    size: int
    count: int
    seed: int = 0

    def __call__(self, places: Tensor) -> Tensor:
        """Return the numbers of the blocks at some places of [0, count), (N,) int64."""
        return places if self.count == self.size else permute(places, self.size, self.seed, 0)


class TrainingBlocks:
    """Makes the training batch of a step."""

    def __init__(self, blocks: Blocks, kept: Kept, plan: BatchPlan, num_workers: int = 0) -> None:
        """Prepare batches of the blocks kept."""
        self._blocks, self._kept, self._plan, self._num_workers = blocks, kept, plan, num_workers
        # Each rank's share of the global batch is contiguous, so that the shares in order make up the batch.
        self._share = slice(plan.batch_size * plan.rank // plan.world, plan.batch_size * (plan.rank + 1) // plan.world)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yield the batches from plan.start_step on."""
        return prefetch(self._make, self._plan.start_step, self._num_workers, self._plan.device)

    @torch.no_grad()
    def _make(self, step: int) -> Batch:
        plan = self._plan
        place, epoch = stream_indices(step, plan.batch_size, self._kept.count, plan.seed)
        numbers, epoch = self._kept(place[self._share]), epoch[self._share]
        batch = self._blocks.gather(numbers.numpy(), plan.seed, epoch)
        return transformed(batch, plan.transform, plan.seed, epoch)


class EvaluationBlocks:
    """Some blocks, each once, in an order that is always the same; mixed, so that the first ones stand for all."""

    def __init__(self, blocks: Blocks, kept: Kept, plan: BatchPlan, *, tokens: int, vocab_size: int) -> None:
        """Prepare batches of the blocks kept; with several processes each takes its share of them.

        Args:
            blocks: The blocks.
            kept: Which of them.
            plan: What is asked for; a batch holds at most plan.batch_size blocks.
            tokens: Tokens of a block.
            vocab_size: Tokens that there are.
        """
        self._blocks, self._kept, self._plan = blocks, kept, plan
        most = min(_EVALUATION_TOKENS // tokens, _EVALUATION_LOGITS // (tokens * vocab_size))
        self._batch_size = max(1, min(plan.batch_size, most))

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(range(self._plan.rank, self._kept.count, self._plan.world)) // self._batch_size)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Go through the blocks once more."""
        return prefetch(self._make, 0, 0, self._plan.device, stop=len(self))

    @torch.no_grad()
    def _make(self, number: int) -> Batch:
        share = range(self._plan.rank, self._kept.count, self._plan.world)
        places = torch.tensor(share[number * self._batch_size : (number + 1) * self._batch_size])
        numbers = self._kept(permute(places, self._kept.count, 0, 0))
        return transformed(self._blocks.gather(numbers.numpy(), 0, torch.zeros_like(numbers)), self._plan.transform)
