"""Made-up results of a pipeline, for tests of what is made of them."""

import random

from ptft.compression.latency import Latency
from ptft.compression.stage_result import Score, StageResult
from ptft.task.task import MetricSpec

ACCURACY = MetricSpec("accuracy", "max", scale=100.0)
LOSS = MetricSpec("loss", "min")
FACTS = {"cpu": "Some CPU", "cpu_flags": ["avx2", "avx512f"], "threads": 2, "torch": "2.15.0", "onnxruntime": "1.32.0"}


def latency(milliseconds, rounds=5):
    """A latency of so many milliseconds with a little noise of its own."""
    noise = random.Random(str(milliseconds))
    times = tuple(milliseconds / 1000 * noise.uniform(0.98, 1.02) for _ in range(rounds))
    return Latency(milliseconds / 1000, milliseconds / 1000 * 1.12, 450, times)


def stage(name, runtime="ONNX Runtime", precision="fp32", **values):
    """A result with what a test does not care about filled in."""
    facts = {"parameters": 585_354, "bytes": 2_345_678, "latency": {1: latency(1), 32: latency(20)}}
    return StageResult(**{"name": name, "runtime": runtime, "precision": precision, "validation": Score(0.9),
                          **facts, **values})  # fmt: skip


def pipeline():
    """Six stages: a parent in two runtimes, pruned, distilled, as int8 and as fp16."""
    rows = [
        ("parent", "PyTorch", "fp32", True, 585_354, 32_110_000, 2_352_000, 2.31, 41.2, 0.9123, 1.0, None),
        ("parent in ONNX", "ONNX Runtime", "fp32", True, 585_354, 32_110_000, 2_345_678, 0.94, 17.8, 0.9123, 1.0, None),
        ("prune", "ONNX Runtime", "fp32", False, 146_200, 7_900_000, 589_000, 0.41, 7.1, 0.9058, 0.962, False),
        ("recover", "ONNX Runtime", "fp32", False, 146_200, 7_900_000, 589_000, 0.4, 7.0, 0.9104, 0.975, True),
        ("half", "ONNX Runtime", "fp16", False, 146_200, 7_900_000, 297_000, 0.47, 8.9, 0.9104, 0.975, True),
        ("int8", "ONNX Runtime", "int8", False, 146_200, 7_900_000, 161_000, 0.16, 2.9, 0.9097, 0.971, True),
    ]
    results = []
    for name, runtime, precision, parent, parameters, macs, size, one, many, value, agreement, passed in rows:
        results.append(
            StageResult(
                name=name, runtime=runtime, precision=precision, parent=parent, parameters=parameters,
                multiply_adds=macs, bytes=size, sparsity=0.0, latency={1: latency(one), 32: latency(many)},
                peak_memory=112_000_000, validation=Score(value, value - 0.0056, value + 0.0055),
                drop=(0.9123 - value) * 100, agreement=agreement, passed=passed,
            )
        )  # fmt: skip
    return results
