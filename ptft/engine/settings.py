"""Every setting of the engine with its meaning and unit; `configs/engine/default.yaml` holds the same keys.

No torch here: the check at the door reads these dataclasses before anything heavy is imported.
"""

from dataclasses import dataclass
from typing import Literal

from ptft.types import DurationText, NonNegativeInt, PositiveFloat, PositiveInt, Seed, UnitFloat


@dataclass(frozen=True, kw_only=True)
class EmaSettings:
    """An exponential moving average of the weights, used for evaluation and for `model/`.

    Attributes:
        decay: Share of the average that stays at each step.
        warmup: Let the decay rise as (1 + step) / (10 + step) until it reaches `decay`.
    """

    decay: UnitFloat = 0.999
    warmup: bool = True


@dataclass(frozen=True, kw_only=True)
class SwaSettings:
    """The equal-weight mean of the weights at several moments (arXiv 1803.05407), used like the moving average.

    Attributes:
        start: When the first weights are taken in, at the end of a period.
        every: How often weights are taken in; the periods are counted from the beginning of the training.
    """

    start: DurationText = "75%"
    every: DurationText = "1ep"


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingSettings:
    """Stop when the objective no longer gets better.

    Attributes:
        patience: Evaluations without a better value before stopping.
        min_delta: How much better a value must be to count, in the metric's own unit.
    """

    patience: PositiveInt = 3
    min_delta: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How a training runs.

    Attributes:
        seed: Seed of weights, order, augmentation and dropout (never of the split).
        batch_size: Examples in one optimizer step, over all ranks and micro-batches.
        micro_batch_size: Examples in one forward pass; auto: the whole batch, or the largest that fits the memory.
        max: Length of the training; schedules are laid out over it.
        stop_at: Stop earlier than `max` without changing the schedule.
        evaluate_every: Time between evaluations on the validation split; one always follows the last step.
        checkpoint_every: Time between checkpoints; one always follows the last step.
        log_every: Time between lines of metrics.
        keep_last: Newest checkpoints to keep, beside the best.
        precision: Number type of forward and backward; auto: bf16 where the device gains from it, else fp32.
        device: auto: cuda, else mps, else cpu.
        compile: Compile the task with torch.compile.
        deterministic: Ask torch for deterministic algorithms only.
        attention: How networks work attention out that have a choice; auto: what is quicker on the device.
        memory_format: channels_last for convolutions; auto: where the device gains from it.
        clip_norm: Largest norm of the gradient of a phase; null: no clipping.
        on_nonfinite: stop: end the run at a loss or gradient that is not finite; skip: leave that update out.
        ema: Moving average of the weights; null: none.
        swa: Mean of the weights at several moments towards the end, in place of `ema`; null: none.
        early_stopping: Stop when the objective no longer gets better; null: never.
        overfit_batches: Train on the first so many batches again and again; 0: on all (see debug=overfit).
        evaluation_batches: Evaluate at most so many batches; null: all (see debug=limit).
        profile: Write a profile of some steps to report/ (see debug=profile).
    """

    seed: Seed = 0
    batch_size: PositiveInt = 64
    micro_batch_size: PositiveInt | Literal["auto"] = "auto"
    max: DurationText = "10ep"
    stop_at: DurationText | None = None
    evaluate_every: DurationText = "1ep"
    checkpoint_every: DurationText = "1ep"
    log_every: DurationText = "50st"
    keep_last: PositiveInt = 2
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    compile: bool = False
    deterministic: bool = False
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    clip_norm: PositiveFloat | None = None
    on_nonfinite: Literal["stop", "skip"] = "stop"
    ema: EmaSettings | None = None
    swa: SwaSettings | None = None
    early_stopping: EarlyStoppingSettings | None = None
    overfit_batches: NonNegativeInt = 0
    evaluation_batches: PositiveInt | None = None
    profile: bool = False
