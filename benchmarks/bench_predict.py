"""What a prediction takes as its rows become more: memory must stay flat, CPU time a row too.

`python -m benchmarks.bench_predict` predicts on 10,000 and 100,000 short texts with a small text CNN that learned for a
moment; `python -m benchmarks.bench_predict 10000 1000000` on as many as are named. Each prediction is a process of its
own, in one thread; what comes out is held against what went in: every row, in order.
"""

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import Row, show

SIZES = (10_000, 100_000)
LIMIT = 1.1
"""How much more memory ten times the rows may take: what the allocator keeps differs from run to run."""
SECTION = "(i) ptft predict on short texts, a text CNN, one thread"
_GOOD, _BAD = ("good", "great", "lovely", "fine"), ("bad", "poor", "sad", "dull")
_WORDS = ["the", "film", "was", "a", "story", "with", "actors", "in", "paris", "about", "love", "and", "rain"]
_TRAINING = (
    "data=text/table", "data.path=train.csv", "data.tokenizer.vocab_size=200", "model=text/cnn", "engine.max=40st",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One prediction.

    Attributes:
        seconds: Wall-clock time of the whole process.
        cpu_seconds: CPU time of the whole process.
        peak_mb: Largest resident memory.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float


def write_texts(path: Path, count: int) -> None:
    """Write so many short texts with their labels, the same every time."""
    draw = random.Random(count)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(count):
            good = draw.random() < 0.5
            words = draw.choices(_WORDS, k=draw.randint(3, 12))
            words.insert(draw.randrange(len(words)), draw.choice(_GOOD if good else _BAD))
            writer.writerow([f"{' '.join(words)} {number}", "good" if good else "bad"])


def ptft(folder: Path, *words: str) -> Measured:
    """Run a command in a folder and measure it.

    Raises:
        RuntimeError: It failed.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ptft", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"ptft {' '.join(words)} ended with {process.returncode}: {told[-500:]}")
    unit = 1 << (20 if sys.platform == "darwin" else 10)  # getrusage counts bytes on macOS, KiB on Linux
    return Measured(time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / unit)


def check(rows: Path, predictions: Path) -> None:
    """Hold predictions against their rows.

    Raises:
        RuntimeError: One is missing, or stands in another place.
    """
    with rows.open(newline="", encoding="utf-8") as texts, predictions.open(encoding="utf-8") as lines:
        for number, (row, line) in enumerate(zip(csv.DictReader(texts), lines, strict=True), 1):
            found = json.loads(line)
            if found["id"] != number or found["text"] != row["text"]:
                raise RuntimeError(f"row {number:,} came out as {found}")


def measure(sizes: tuple[int, ...] = SIZES) -> list[Row]:
    """Return a row for each number of texts."""
    rows = []
    first: Measured | None = None
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_texts(folder / "train.csv", 1000)
        ptft(folder, "finetune", "name=run", *_TRAINING)
        for size in sizes:
            write_texts(folder / "texts.csv", size)
            output = ("output=out.jsonl", "overwrite=true")
            found = ptft(folder, "predict", "run=run", "input=texts.csv", *output)
            check(folder / "texts.csv", folder / "out.jsonl")
            first = first or found
            ratio = found.peak_mb / first.peak_mb
            note = f"{found.cpu_seconds:.1f} CPU s, {found.peak_mb:.0f} MB at most"
            note += f" ({ratio:.2f} of the first, {LIMIT:g} wanted)" if found is not first else ""
            rows.append(Row(SECTION, f"{size:,} rows, complete and in order", found.seconds, "s", note=note))
    return rows


def main() -> None:
    show(measure(tuple(int(word) for word in sys.argv[1:]) or SIZES))


if __name__ == "__main__":
    main()
