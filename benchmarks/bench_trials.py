"""Small trials by a sweep beside a fresh process for each; `python -m benchmarks.bench_trials`.

CPU time of all processes, start-up of the sweep included; each trial trains an MLP on the digits for 20 steps and is
evaluated and written as any run is. With one core for each, the ratio is that of trials an hour.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.contest import Row, show

TRIALS, FRESH = 30, 5
AIM = 3.0
SECTION = f"(k) sweeps: {TRIALS} trials of 20 steps; CPU time a trial"
SETTINGS = ("experiment=vision/digits", "model=vision/mlp", "engine.max=20st", "engine.precision=fp32")


def cpu_seconds(command: list[str], folder: str) -> float:
    """Run a command and return the CPU time of its process and all that it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure() -> list[Row]:
    """Return a row for each way."""
    ptft = Path(sys.executable).with_name("ptft")
    if not ptft.exists():
        return [Row(SECTION, "ptft", None, "", note=f"left out: there is no {ptft} (pip install -e .)")]
    with tempfile.TemporaryDirectory() as folder:
        alone = [str(ptft), "finetune", *SETTINGS]
        cpu_seconds([*alone, "name=warm"], folder)  # the file cache
        fresh = (
            sum(cpu_seconds([*alone, f"optimizer.lr=0.00{n + 1}", f"name=n{n}"], folder) for n in range(FRESH)) / FRESH
        )
        several = ["-m", "optimizer.lr=tag(log,interval(1e-4,1e-1))", f"sweep.trials={TRIALS}", "hydra/sweeper=random"]
        sweep = cpu_seconds([*alone, *several, "name=sweep"], folder) / TRIALS
    note = f"{fresh / sweep:.1f} times more trials an hour (at least {AIM:g} wanted)"
    return [
        Row(SECTION, "a process each, started afresh", fresh, "s", 1.0),
        Row(SECTION, "ptft -m", sweep, "s", sweep / fresh, note),
    ]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
