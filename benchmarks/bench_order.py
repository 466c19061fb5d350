"""Private memory and time to the first index of the training order, by size; `python -m benchmarks.bench_order`.

Each size is measured in a process of its own, beside the list of all examples that a shuffling sampler makes.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import json
import subprocess
import sys
import time
from pathlib import Path

SIZES = (10_000, 10_000_000)
LIMIT_MB = 20.0


def private_mb() -> float:
    """Memory that is this process's alone, in MB (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def measure(kind: str, size: int) -> dict[str, float]:
    """Measure in this process: `ptft` or `sampler`."""
    import torch
    from torch.utils.data import RandomSampler

    from ptft.runtime.random import permute, stream_indices

    permute(torch.arange(4096), 100_000, 0, 0)  # loads torch's kernels, which is no matter of the size
    torch.randperm(10).tolist()
    before, begin = private_mb(), time.perf_counter()
    if kind == "ptft":
        stream_indices(0, 128, size, 0)
    else:
        kept = iter(RandomSampler(range(size)))
        next(kept)
    first = time.perf_counter() - begin
    memory = private_mb() - before
    if kind == "ptft":
        begin = time.perf_counter()
        for step in range(1000):
            stream_indices(step, 128, size, 0)
        return {"first": first, "memory": memory, "step": (time.perf_counter() - begin) / 1000}
    return {"first": first, "memory": memory}


def in_a_process(kind: str, size: int) -> dict[str, float]:
    """Run `measure` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.bench_order", kind, str(size)]
    root = Path(__file__).resolve().parents[1]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=root).stdout)
    return result


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
        return
    print(f"{'order of':>12}  {'by':<10} {'first index':>12} {'private memory':>15} {'each batch of 128':>18}")
    memory = []
    for size in SIZES:
        for kind, name in (("ptft", "ptft"), ("sampler", "a sampler")):
            found = in_a_process(kind, size)
            step = f"{found['step'] * 1e6:15.1f} us" if "step" in found else ""
            print(f"{size:>12,}  {name:<10} {found['first'] * 1e3:>9.2f} ms {found['memory']:>12.1f} MB {step}")
            if kind == "ptft":
                memory.append(found["memory"])
    print(f"ptft's memory differs by {abs(memory[1] - memory[0]):.1f} MB over the sizes (at most {LIMIT_MB:g} wanted)")


if __name__ == "__main__":
    main()
