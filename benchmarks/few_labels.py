"""Does rotation pre-training help with 600 Fashion-MNIST labels? `python -m benchmarks.few_labels`.

Both sides train 1,000 steps on the same 600 images with the same batches, augmentation and schedule. Each side's
learning rate is the best on validation, over seeds of their own; then each seed trains both sides, and the differences
on the test split are paired. A seed decides the order, the augmentation, the initial weights and, as `data.split.seed`,
which images keep their labels. All seeds start from one pre-training run, so the interval does not tell how another
would do. It saw no label and no test image, but most images that are validation under another split seed: validation
flatters its side, which matters for tuning alone. Finished runs are not run again: remove OUTPUT to start anew.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from scipy.stats import t as student

from ptft.command import finetune, pretrain
from ptft.config.hydra_app import launch

RATES = (0.01, 0.03, 0.1, 0.3)
TUNING_SEEDS = (100, 101)


@dataclass(frozen=True)
class Comparison:
    """Where the runs lie and what each of their commands is told beside the recipe."""

    output: Path
    overrides: tuple[str, ...]

    def run(self, verb: str, recipe: str, name: str, *settings: str) -> dict[str, Any]:
        """Run `ptft VERB experiment=RECIPE SETTINGS`, unless that is done, and return its summary."""
        summary = self.output / name / "summary.json"
        if not summary.is_file():
            command = {"pretrain": pretrain.run, "finetune": finetune.run}[verb]
            words = [f"experiment=vision/{recipe}", f"output_root={self.output}", f"name={name}", "overwrite=true"]
            self.output.mkdir(parents=True, exist_ok=True)
            with (self.output / "log.txt").open("a") as log, contextlib.redirect_stdout(log):
                launch(verb, [*words, *settings, *self.overrides], command)
        result: dict[str, Any] = json.loads(summary.read_bytes())
        return result

    def few_labels(self, start: Path | None, rate: float, seed: int) -> dict[str, float]:
        """Return the metrics in percent of one run with few labels; without `start` it trains from scratch."""
        side = "scratch" if start is None else "rotation"
        settings = [f"optimizer.lr={rate}", f"engine.seed={seed}", f"data.split.seed={seed}"]
        if start is not None:
            settings.append(f"init_from={start.resolve()}")
        summary = self.run("finetune", "fashion_mnist_few_labels", f"{side}_lr{rate}_seed{seed}", *settings)
        return {name: 100 * summary["metrics"][f"{name}/accuracy"]["value"] for name in ("val", "test")}

    def best_rate(self, start: Path | None) -> float:
        """Return the learning rate of the highest validation accuracy, the mean over the tuning seeds."""
        scores = {}
        for rate in RATES:
            scores[rate] = statistics.mean(self.few_labels(start, rate, seed)["val"] for seed in TUNING_SEEDS)
        best = max(RATES, key=lambda rate: scores[rate])
        shown = "  ".join(f"{rate:g}: {score:.2f}" for rate, score in scores.items())
        edge = "  (at the edge of what was tried)" if best in (RATES[0], RATES[-1]) else ""
        print(f"  {'scratch ' if start is None else 'rotation'}  {shown}  -> {best:g}{edge}", flush=True)
        return best


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the mean of paired differences and half the width of its 95% t-interval."""
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences), float(student.ppf(0.975, len(differences) - 1)) * error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrained", type=Path, help="a run of vision/fashion_mnist_rotation; else one is made")
    parser.add_argument("--output", type=Path, default=Path("outputs/few_labels"), help="where the runs lie")
    parser.add_argument("--seeds", type=int, default=5, help="paired runs, at least 2")
    parser.add_argument("overrides", nargs="*", help="key=value for every command, as data.path=...")
    arguments = parser.parse_args()
    comparison = Comparison(arguments.output, tuple(arguments.overrides))

    rotation = arguments.pretrained
    if rotation is None:
        rotation = comparison.output / "rotation"
        summary = comparison.run("pretrain", "fashion_mnist_rotation", rotation.name)
        accuracy, seconds = summary["metrics"]["val/accuracy"]["value"], summary["cost"]["cpu_seconds"]
        print(f"pre-training: {100 * accuracy:.2f}% of validation rotations told apart, {seconds:.0f} CPU seconds")

    print(f"validation accuracy by learning rate, mean of seeds {', '.join(map(str, TUNING_SEEDS))}", flush=True)
    rates = [comparison.best_rate(start) for start in (None, rotation)]

    print("test accuracy\n  seed   scratch  rotation  difference", flush=True)
    differences = []
    for seed in range(arguments.seeds):
        scratch, tuned = (
            comparison.few_labels(start, rate, seed)["test"]
            for start, rate in zip((None, rotation), rates, strict=True)
        )
        differences.append(tuned - scratch)
        print(f"  {seed:4}   {scratch:7.2f}  {tuned:8.2f}  {tuned - scratch:+10.2f}", flush=True)
    mean, half = interval(differences)
    print(f"fine-tuning from rotation minus from scratch: {mean:+.2f} points +- {half:.2f} (95% t-interval, paired)")


if __name__ == "__main__":
    main()
