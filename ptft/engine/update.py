"""One optimizer step: the only place in ptft that calls `backward`.

    cut the batch into micro-batches
    for each phase:
        add up what its loss terms count, over micro-batches and ranks
        forget the phase's gradients
        for each micro-batch: forward, loss, backward of  sum over terms of  coefficient * sum / count
        penalise, clip, step
    after_update

Dividing sums by counts of the whole batch makes an accumulated step equal one big batch, with unequal token counts and
with several terms; a term that counts nothing adds nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ptft.data.data_module import Batch
from ptft.engine.optimize import PhaseOptimizer
from ptft.engine.window import Window
from ptft.runtime.distributed import World
from ptft.runtime.precision import Precision
from ptft.runtime.random import seed_for
from ptft.task.task import StepOutput, Task


class Update:
    """Performs optimizer steps on a task.

    Args:
        task: The task in training mode.
        optimizers: One optimizer a phase.
        window: Where losses are summed for the curves.
        precision: Number type of forward and backward.
        seed: Seed of dropout and of noise; a pure function of it, the step, the micro-batch and the rank.
        micro_batch_size: Examples in one forward pass.
        world: This process among others.
    """

    def __init__(
        self,
        task: Task,
        optimizers: Mapping[str, PhaseOptimizer],
        window: Window,
        precision: Precision,
        *,
        seed: int,
        micro_batch_size: int,
        world: World,
    ) -> None:
        self.task = task
        self.optimizers = optimizers
        self.window = window
        self.precision = precision
        self.seed = seed
        self.micro_batch_size = micro_batch_size
        self.world = world
        self.scaler = next(iter(optimizers.values())).scaler

    def __call__(self, batch: Batch, step: int, max_steps: int) -> None:
        """Do step number `step` (from 0) on this rank's share of the global batch."""
        micro_batches = cut(batch, self.micro_batch_size)
        for number, phase in enumerate(self.task.phases):
            optimizer = self.optimizers[phase]
            counts = count_items(self.task, micro_batches, phase, self.world)
            optimizer.zero_grad()
            for position, micro_batch in enumerate(micro_batches):
                # The phase is part of the seed, so that a GAN's two phases see different noise.
                seed_device(seed_for(self.seed, step, position * len(self.task.phases) + number, self.world.rank))
                output = accumulate(
                    self.task, micro_batch, phase, counts, self.precision, self.scaler.scale, self.world.size
                )
                self.window.add_losses(output.sums, output.coefficients)
                self.window.add_scalars(output.scalars)
            optimizer.step(step)
            self.window.add_counts(counts)
        self.task.after_update(step, max_steps)


def count_items(task: Task, micro_batches: list[Batch], phase: str, world: World) -> dict[str, int | Tensor]:
    """Return what each loss term of a phase counts over all micro-batches and ranks, before any forward pass."""
    total: dict[str, int | Tensor] = {}
    for micro_batch in micro_batches:
        for name, count in task.count(micro_batch, phase).items():
            total[name] = total[name] + count if name in total else count
    return {name: world.sum(count) for name, count in total.items()}


def accumulate(
    task: Task,
    micro_batch: Batch,
    phase: str,
    counts: Mapping[str, int | Tensor],
    precision: Precision,
    scale: Callable[[Tensor], Tensor],
    ranks: int = 1,
) -> StepOutput:
    """Add the gradient of one micro-batch to the parameters' gradients and return its sums.

    Args:
        task: The task in training mode.
        micro_batch: The examples.
        phase: The phase whose loss it is.
        counts: What each loss term counts over the global batch.
        precision: Number type of the forward pass.
        scale: Applied to the total before it is propagated back: a gradient scaler's.
        ranks: The number of processes.
    """
    with precision.autocast():
        output = task.loss(task(micro_batch), micro_batch, phase)
        loss = total_loss(output, counts, ranks)
    scale(loss).backward()  # type: ignore[no-untyped-call]
    return output


def total_loss(output: StepOutput, counts: Mapping[str, int | Tensor], ranks: int = 1) -> Tensor:
    """Return the sum over terms of coefficient * sum / count; a term counted 0 adds 0.

    It is multiplied by the number of ranks, by which averaging their gradients divides.
    """
    terms: list[Tensor] = []
    for name, value in output.sums.items():
        count = counts[name]
        # A sum of weights may well lie between 0 and 1.
        divisor = torch.where(count > 0, count, 1) if isinstance(count, Tensor) else count or 1
        terms.append(value * (output.coefficients.get(name, 1.0) * ranks / divisor))
    return terms[0] if len(terms) == 1 else torch.stack(terms).sum()


def cut(batch: Batch, size: int) -> list[Batch]:
    """Cut a batch into micro-batches of at most `size` examples, in order."""
    total = len(batch["index"])
    if total <= size:
        return [batch]
    return [_slice(batch, start, min(start + size, total)) for start in range(0, total, size)]


def _slice(value: Any, start: int, stop: int) -> Any:
    """Take rows of every tensor in a nested batch."""
    if isinstance(value, dict):
        return {key: _slice(item, start, stop) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_slice(item, start, stop) for item in value)
    return value[start:stop]


def seed_device(seed: int) -> None:
    """Seed torch's global generators, which dropout and noise draw from.

    torch.manual_seed does the same for every kind of device there could be, at several times the cost of a small step.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed(seed)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
