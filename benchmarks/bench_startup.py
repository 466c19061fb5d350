"""Wall-clock time of `ptft --help` and of a config error, beside `import torch`; `python -m benchmarks.bench_startup`.

Whole processes in turns, medians: neither may wait for torch, which is most of what a training waits for.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.contest import Row, show

ROUNDS = 7
HELP_LIMIT, ERROR_LIMIT = 0.2, 1.0
SECTION = "(d) start-up, wall-clock"


def seconds(command: list[str], exit_code: int) -> float:
    """Run a command and return how long it took; it must end as expected."""
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    elapsed = time.perf_counter() - begin
    if done.returncode != exit_code:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}, not {exit_code}: {done.stderr[-500:]}")
    return elapsed


def measure() -> list[Row]:
    """Return a row for each command."""
    ptft = Path(sys.executable).with_name("ptft")
    if not ptft.exists():
        return [Row(SECTION, "ptft", None, "", note=f"left out: there is no {ptft} (pip install -e .)")]
    commands = {
        "python -c 'import torch'": ([sys.executable, "-c", "import torch"], 0),
        f"ptft --help (below {HELP_LIMIT} s)": ([str(ptft), "--help"], 0),
        f"a config error (below {ERROR_LIMIT} s)": ([str(ptft), "finetune", "optmizer.lr=1"], 2),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS + 1):
        for name, (command, exit_code) in commands.items():
            times[name].append(seconds(command, exit_code))
    medians = {name: statistics.median(own[1:]) for name, own in times.items()}  # the first round warms the file cache
    base = next(iter(medians.values()))
    return [Row(SECTION, name, median, "s", median / base) for name, median in medians.items()]


def main() -> None:
    show(measure())


if __name__ == "__main__":
    main()
