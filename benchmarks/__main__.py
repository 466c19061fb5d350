"""Every benchmark, one table: what `make bench` runs. Takes a few minutes; times are of one thread.

Figures depend on the machine, ratios hardly; no test asserts either.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import sys
from pathlib import Path

import torch

from benchmarks import (
    bench_batches,
    bench_folder,
    bench_order,
    bench_predict,
    bench_startup,
    bench_step,
    bench_text_step,
    bench_tokens,
    bench_trials,
    sweeps,
)
from benchmarks.contest import Row, show


def batches() -> list[Row]:
    """(c) What it costs to make a batch."""
    section = "(c) making a batch: 128 of 28x28, padded crop, flip; CPU time"
    ours, theirs = bench_batches.measure()
    note = f"{theirs / ours:.1f} times faster (at least {bench_batches.AIM:g} wanted)"
    return [
        Row(section, "torchvision data set, PIL transforms", theirs * 1e3, "ms", 1.0),
        Row(section, "ptft, whole batch", ours * 1e3, "ms", ours / theirs, note),
    ]


def order() -> list[Row]:
    """(e) What the order of the examples costs, by their number."""
    section = "(e) order of the examples: to the first index"
    if not Path("/proc/self/smaps_rollup").exists():
        return [Row(section, "all", None, "", note="left out: private memory is read from /proc (Linux)")]
    rows = []
    for kind, name in (("sampler", "RandomSampler"), ("ptft", "ptft")):
        for size in bench_order.SIZES:
            found = bench_order.in_a_process(kind, size)
            note = f"{found['memory']:.1f} MB private memory"
            if kind == "ptft":
                note += f" (flat within {bench_order.LIMIT_MB:g} MB wanted)"
            rows.append(Row(section, f"{name}, {size:,} examples", found["first"] * 1e3, "ms", note=note))
    return rows


def main() -> None:
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, Python {sys.version.split()[0]}, {os.cpu_count()} CPUs; medians of rounds in turns"
    )
    parts = (
        bench_step.overhead,
        bench_step.arithmetic,
        batches,
        bench_startup.measure,
        order,
        bench_folder.measure,
        bench_tokens.rows,
        bench_text_step.measure,
        bench_predict.measure,
        bench_trials.measure,
        sweeps.rows,
    )
    for part in parts:
        show(part())


if __name__ == "__main__":
    main()
