"""What was measured of one stage of a pipeline - the parent, or what a step left - and how stages compare."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptft.compression.latency import Latency, ratio
from ptft.errors import CheckpointError
from ptft.task.task import MetricSpec

EAGER = "PyTorch"
"""The runtime of a network that was not exported."""


@dataclass(frozen=True)
class Score:
    """A headline metric in its own unit, with its 95% interval if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What was measured of one stage.

    Attributes:
        name: Its name among the stages of a pipeline, told once.
        runtime: What ran it, as people call it: PyTorch, ONNX Runtime, OpenVINO.
        precision: Number type of its weights: fp32, fp16, bf16, int8.
        parent: True: the uncompressed network, in whichever runtime.
        parameters: Its parameters.
        multiply_adds: Multiply-adds of one example; None: not counted.
        bytes: Size of its files.
        sparsity: Share of its weights that are exactly zero.
        latency: By batch size.
        peak_memory: Bytes of a fresh process that runs a batch; None: not measured.
        validation: The headline on validation.
        test: The same on test, for what was looked at there.
        drop: How much worse than the parent on validation it is, see `drop_of`; below 0: better.
        agreement: Share of the validation examples with the parent's prediction; None: the task predicts nothing of
            single examples.
        passed: Whether the gate let it pass; None: there was no gate.
        note: What a reader should know of it.
    """

    name: str
    runtime: str
    precision: str
    parent: bool = False
    parameters: int
    multiply_adds: int | None = None
    bytes: int
    sparsity: float = 0.0
    latency: Mapping[int, Latency]
    peak_memory: int | None = None
    validation: Score
    test: Score | None = None
    drop: float = 0.0
    agreement: float | None = None
    passed: bool | None = None
    note: str = ""

    def items_per_second(self, batch_size: int) -> float:
        """Return how many examples it takes in a second at the median latency of a batch."""
        return batch_size / self.latency[batch_size].p50

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {**dataclasses.asdict(self), "latency": {str(k): dataclasses.asdict(v) for k, v in self.latency.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "StageResult":
        """Build a result from what `to_json` returned, after a journey through JSON too.

        Raises:
            CheckpointError: The values are no result.
        """
        try:
            fields = dict(values)
            latency = {
                int(size): Latency(**{**one, "rounds": tuple(one["rounds"])}) for size, one in fields["latency"].items()
            }
            test = _score(fields["test"]) if fields["test"] is not None else None
            drop = _number(fields["drop"])
            return cls(**{**fields, "latency": latency, "validation": _score(fields["validation"]), "test": test,
                          "drop": drop})  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"what was measured of a stage cannot be read back: {error!r}") from error


@dataclass(frozen=True)
class Speedup:
    """How many times faster a stage is; None: there is nothing to compare with.

    Attributes:
        eager: Than the parent in eager PyTorch.
        runtime: Than the parent as fp32 in the stage's own runtime: what is left when the runtime's share is taken off.
    """

    eager: float | None
    runtime: float | None


def speedup(results: Sequence[StageResult], result: StageResult, batch_size: int) -> Speedup:
    """Return how many times faster a stage is than its parents at a batch size."""

    def against(runtime: str) -> float | None:
        parents = (one for one in results if one.parent and one.runtime == runtime and one.precision == "fp32")
        base = next(parents, None)
        if base is None or batch_size not in base.latency or batch_size not in result.latency:
            return None
        return ratio(base.latency[batch_size], result.latency[batch_size])

    return Speedup(against(EAGER), against(result.runtime))


def times_smaller(results: Sequence[StageResult], result: StageResult) -> float | None:
    """Return how many times smaller the files of a stage are than those of the first parent."""
    base = next((one for one in results if one.parent), None)
    return base.bytes / result.bytes if base is not None and result.bytes else None


def drop_of(spec: MetricSpec, parent: float, value: float) -> float:
    """Return by how much a headline is worse than the parent's: in points, or in percent where less is better.

    Args:
        spec: The headline; where more is better, a point is 1 / `scale`.
        parent: The parent's value, in the metric's own unit.
        value: The value to judge.
    """
    if spec.mode == "max":
        return (parent - value) * spec.scale
    if parent == 0:
        return 0.0 if value == 0 else math.copysign(math.inf, value)
    return 100 * (value - parent) / abs(parent)


def batch_sizes(results: Sequence[StageResult]) -> list[int]:
    """Return the batch sizes that latencies were measured at."""
    return sorted({size for result in results for size in result.latency})


def pareto(results: Sequence[StageResult], batch: int) -> set[str]:
    """Return the names of the stages that no other beats: as good in metric, latency and size, and better in one.

    Args:
        results: The stages, of different names. One without a latency, or whose metric is no number, is left out.
        batch: The batch size whose median latency counts.
    """
    points = {
        one.name: (one.drop, one.latency[batch].p50, one.bytes)
        for one in results
        if batch in one.latency and not math.isnan(one.drop)
    }
    return {name for name, own in points.items() if not any(_beats(other, own) for other in points.values())}


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    """Tell whether `a` is nowhere larger than `b` and somewhere smaller."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def _score(values: Mapping[str, Any]) -> Score:
    return Score(**{**values, "value": _number(values["value"])})


def _number(value: float | None) -> float:
    """Return a number from JSON, which knows no NaN: null stands for it."""
    return math.nan if value is None else value
