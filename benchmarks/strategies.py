"""Which way to fine-tune? `python -m benchmarks.strategies EMOJI_FOLDER MOBILENET_V2.pth`.

Every strategy trains the recipe vision/emoji_mobilenetv2 from the same ImageNet weights, with the same number of steps,
and is told by its own settings alone. Its learning rate is the best of a few on validation, over a seed of its own;
then three seeds train it, and the test split of each is read once. A seed decides order, augmentation and head, and as
`data.split.seed` also the split, in which the skin variants of one emoji stay together. Finished runs are kept and not
run again: remove OUTPUT to start anew. About 75 minutes of one core; the table is what docs/fine_tuning.md shows.
"""

import argparse
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from benchmarks.kept import interval, kept_run

SEEDS = (0, 1, 2)
TUNING_SEED = 100


@dataclass(frozen=True)
class Strategy:
    """One way to fine-tune: its settings, and the learning rates tried; none: those of full fine-tuning."""

    title: str
    settings: tuple[str, ...] = ()
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    pretrained: bool = True


STRATEGIES = {
    "scratch": Strategy("from scratch", rates=(1e-3, 3e-3, 1e-2), pretrained=False),
    "full": Strategy("full"),
    "probe": Strategy("linear probe", ("adapt=linear_probe",), (1e-3, 3e-3, 1e-2)),
    "freeze": Strategy("freeze the first 10 of 18 blocks", ("adapt=freeze", "adapt.blocks=10")),
    "gradual": Strategy("gradual unfreezing", ("adapt=gradual",)),
    "decay": Strategy("layer-wise decay 0.8", ("optimizer.layer_decay=0.8",), (1e-3, 3e-3, 1e-2)),
    "head": Strategy("head at 10 times the rate", ("optimizer.head_multiplier=10",), (1e-4, 3e-4, 1e-3)),
    "lora": Strategy("LoRA", ("adapt=lora",), (1e-3, 3e-3, 1e-2)),
    "ema": Strategy("full, EMA", ("engine.ema.decay=0.98",), ()),
    "swa": Strategy("full, SWA of the last quarter", ("engine.swa.start=75%", "engine.swa.every=5%"), ()),
}


@dataclass(frozen=True)
class Contest:
    """Where the runs lie, and what each of their commands is told."""

    output: Path
    weights: Path
    overrides: tuple[str, ...]

    def train(self, key: str, rate: float, seed: int) -> dict[str, Any]:
        """Return the summary of one training run."""
        strategy = STRATEGIES[key]
        start = [f"init_from={self.weights}"] if strategy.pretrained else []
        seeds = [f"optimizer.lr={rate}", f"engine.seed={seed}", f"data.split.seed={seed}"]
        recipe = "experiment=vision/emoji_mobilenetv2"
        name = f"{key}_lr{rate:g}_seed{seed}"
        return kept_run(self.output, "finetune", name, recipe, *start, *strategy.settings, *seeds, *self.overrides)

    def best_rate(self, key: str) -> float:
        """Return the learning rate of the highest validation accuracy; one that is not tuned takes that of `full`."""
        rates = STRATEGIES[key].rates
        if not rates:
            return self.best_rate("full")
        scores = {rate: self.train(key, rate, TUNING_SEED)["metrics"]["val/accuracy"]["value"] for rate in rates}
        return max(rates, key=lambda rate: scores[rate])

    def flipped(self, rate: float, seed: int) -> dict[str, Any]:
        """Return the summary of evaluating a run of `full` with test-time flips."""
        name = f"full_lr{rate:g}_seed{seed}"
        return kept_run(
            self.output,
            "evaluate",
            f"{name}_flips",
            f"run={(self.output / name).resolve()}",
            "task.test_time_flips=true",
        )


def percent(summaries: Sequence[dict[str, Any]], name: str) -> list[float]:
    """Return a metric of the test split of some runs, in percent."""
    return [100 * summary["metrics"][f"test/{name}"]["value"] for summary in summaries]


def row(title: str, rate: float, runs: Sequence[dict[str, Any]], full: Sequence[float], cost: dict[str, Any]) -> str:
    """Return a row of the table: accuracy, difference to full fine-tuning, macro F1, parameters and CPU seconds."""
    accuracy = percent(runs, "accuracy")
    mean, half = interval(accuracy)
    f1, f1_half = interval(percent(runs, "f1_macro"))
    cells = [f"{title}", f"{rate:g}", f"{mean:.1f} ± {half:.1f}", "", f"{f1:.1f} ± {f1_half:.1f}"]
    if accuracy != list(full):
        difference, spread = interval([one - other for one, other in zip(accuracy, full, strict=True)])
        cells[3] = f"{difference:+.1f} ± {spread:.1f}"
    return "| " + " | ".join([*cells, f"{cost['parameters']:,}", f"{cost['seconds']:.0f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("emoji", type=Path, help="the unpacked npm package emoji-datasource-google")
    parser.add_argument("weights", type=Path, help="mobilenet_v2-b0353104.pth")
    parser.add_argument("--output", type=Path, default=Path("outputs/strategies"), help="where the runs lie")
    parser.add_argument("--only", nargs="*", choices=STRATEGIES, help="run these alone, without a table")
    parser.add_argument("overrides", nargs="*", help="key=value for every training")
    arguments = parser.parse_args()
    path = f"data.path={arguments.emoji.resolve()}"
    contest = Contest(arguments.output, arguments.weights.resolve(), (path, *arguments.overrides))
    runs, rates = {}, {}
    for key in arguments.only or STRATEGIES:
        rates[key] = contest.best_rate(key)
        runs[key] = [contest.train(key, rates[key], seed) for seed in SEEDS]
        shown = ", ".join(f"{value:.1f}" for value in percent(runs[key], "accuracy"))
        print(f"{STRATEGIES[key].title}: lr {rates[key]:g}, test accuracy {shown}", flush=True)
    if arguments.only:
        return
    full = percent(runs["full"], "accuracy")
    print("\n| strategy | lr | test accuracy, % | against full | macro F1, % | trainable parameters | CPU seconds |")
    print("|---|---|---|---|---|---|---|")
    for key, summaries in runs.items():
        seconds = statistics.mean(summary["cost"]["cpu_seconds"] for summary in summaries)
        cost = {"parameters": summaries[0]["parameters"]["trainable"], "seconds": seconds}
        print(row(STRATEGIES[key].title, rates[key], summaries, full, cost))
    flipped = [contest.flipped(rates["full"], seed) for seed in SEEDS]
    seconds = statistics.mean(summary["cost"]["cpu_seconds"] for summary in runs["full"])
    cost = {"parameters": runs["full"][0]["parameters"]["trainable"], "seconds": seconds}
    print(row("full, test-time flips", rates["full"], flipped, full, cost))


if __name__ == "__main__":
    main()
