"""Does pre-training without labels help with 600 Fashion-MNIST labels? `python -m benchmarks.few_labels`.

A convolutional network starts from scratch, from rotation prediction and from SimCLR; a small vision transformer from
scratch and from a masked autoencoder. All sides of a network train 1,000 steps on the same 600 images with the same
batches, augmentation and schedule, whole and, where pre-trained, as a linear probe (only the head is trained). Each
side's learning rate is the best on validation, over a seed of its own; then each seed trains all sides, and differences
from scratch on the test split are paired. A seed decides the order, the augmentation, the initial weights and, as
`data.split.seed`, which images keep their labels. All seeds start from one pre-training run, so the intervals do not
tell how another would do. It saw no label and no test image, but most images that are validation under another split
seed: validation flatters its side, which matters for tuning alone. Finished runs are not run again: remove OUTPUT to
start anew.
"""

import argparse
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from benchmarks.kept import interval, kept_run

TUNING_SEEDS = (100,)


# --- Who is compared --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A network with few labels.

    Attributes:
        recipe: What trains it.
        rates: Learning rates that are tried where all of it is trained.
        probe_rates: Those where only the head is.
    """

    recipe: str
    rates: tuple[float, ...]
    probe_rates: tuple[float, ...]


@dataclass(frozen=True)
class Side:
    """One row of the table.

    Attributes:
        name: What its runs are called by.
        network: What is trained.
        recipe: What pre-trains it; None: from scratch.
        probe: Whether only the head is trained.
    """

    name: str
    network: Network
    recipe: str | None = None
    probe: bool = False

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that are tried."""
        return self.network.probe_rates if self.probe else self.network.rates

    @property
    def label(self) -> str:
        """What it is called in the table."""
        return f"{self.name}, linear probe" if self.probe else self.name


VGG = Network("fashion_mnist_few_labels", (0.01, 0.03, 0.1, 0.3), (0.03, 0.1, 0.3, 1.0))
VIT = Network("fashion_mnist_few_labels_vit", (3e-4, 1e-3, 3e-3), (3e-3, 1e-2, 3e-2))
PRETRAINED = {
    "rotation": (VGG, "fashion_mnist_rotation"),
    "simclr": (VGG, "fashion_mnist_simclr"),
    "mae": (VIT, "fashion_mnist_mae"),
}
SIDES = (
    Side("scratch", VGG),
    Side("vit_scratch", VIT),
    *(Side(name, network, recipe) for name, (network, recipe) in PRETRAINED.items()),
    *(Side(name, network, recipe, probe=True) for name, (network, recipe) in PRETRAINED.items()),
)


# --- Runs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Where the runs lie, which pre-trained ones are given, and what each command is told beside its recipe."""

    output: Path
    given: dict[str, Path]
    overrides: tuple[str, ...]

    def run(self, verb: str, recipe: str, name: str, *settings: str) -> dict[str, Any]:
        """Run `ptft VERB experiment=RECIPE SETTINGS`, unless that is done, and return its summary."""
        return kept_run(self.output, verb, name, f"experiment=vision/{recipe}", *settings, *self.overrides)

    def start(self, side: Side) -> Path | None:
        """Return the run that a side starts from, after making it where it is not given; None: from scratch."""
        if side.recipe is None:
            return None
        if side.name in self.given:
            return self.given[side.name]
        self.run("pretrain", side.recipe, side.name)
        return self.output / side.name

    def few_labels(self, side: Side, rate: float, seed: int) -> dict[str, float]:
        """Return validation and test accuracy in percent of one run with few labels."""
        settings = [f"optimizer.lr={rate}", f"engine.seed={seed}", f"data.split.seed={seed}"]
        start = self.start(side)
        if start is not None:
            settings.append(f"init_from={start.resolve()}")
        if side.probe:
            settings.append("adapt=linear_probe")
        name = f"{side.name}{'_probe' if side.probe else ''}_lr{rate}_seed{seed}"
        summary = self.run("finetune", side.network.recipe, name, *settings)
        return {split: 100 * summary["metrics"][f"{split}/accuracy"]["value"] for split in ("val", "test")}

    def best_rate(self, side: Side) -> float:
        """Return the learning rate of the highest validation accuracy, the mean over the tuning seeds."""
        scores = {}
        for rate in side.rates:
            scores[rate] = statistics.mean(self.few_labels(side, rate, seed)["val"] for seed in TUNING_SEEDS)
        best = max(side.rates, key=lambda rate: scores[rate])
        shown = "  ".join(f"{rate:g}: {score:.2f}" for rate, score in scores.items())
        edge = "  (at the edge of what was tried)" if best in (side.rates[0], side.rates[-1]) else ""
        print(f"  {side.label:24} {shown}  -> {best:g}{edge}", flush=True)
        return best


# --- Table ------------------------------------------------------------------------------------------------------------


def table(scores: dict[Side, list[float]]) -> list[str]:
    """Return the lines of a Markdown table: mean test accuracy and the paired difference from scratch of each side."""
    lines = ["| side | test accuracy | minus from scratch |", "|---|---|---|"]
    scratch = {side.network: values for side, values in scores.items() if side.recipe is None}
    for side, values in sorted(scores.items(), key=lambda item: SIDES.index(item[0])):
        mean, half = interval(values)
        difference = ""
        if side.recipe is not None and side.network in scratch:
            pairs = zip(values, scratch[side.network], strict=True)
            difference = "{:+.2f} +- {:.2f}".format(*interval([own - other for own, other in pairs]))
        lines.append(f"| {side.label} | {mean:.2f} +- {half:.2f} | {difference} |")
    return lines


def main() -> None:
    names = list(dict.fromkeys(side.name for side in SIDES))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrained", nargs="*", default=[], metavar="NAME=RUN", help="runs made before: mae=...")
    parser.add_argument("--output", type=Path, default=Path("outputs/few_labels"), help="where the runs lie")
    parser.add_argument("--seeds", type=int, default=3, help="paired runs, at least 2")
    parser.add_argument("--sides", nargs="*", default=names, choices=names, help="all by default")
    parser.add_argument("overrides", nargs="*", help="key=value for every command, after `--`: -- data.path=...")
    arguments = parser.parse_args()
    given = {name: Path(path) for name, _, path in (text.partition("=") for text in arguments.pretrained)}
    comparison = Comparison(arguments.output, given, tuple(arguments.overrides))

    sides = [side for side in SIDES if side.name in arguments.sides]
    print(f"validation accuracy by learning rate, seed {', '.join(map(str, TUNING_SEEDS))}", flush=True)
    rates = {side: comparison.best_rate(side) for side in sides}
    scores = {
        side: [comparison.few_labels(side, rates[side], seed)["test"] for seed in range(arguments.seeds)]
        for side in sides
    }
    print(
        f"mean over seeds 0 to {arguments.seeds - 1} in percent, 95% t-intervals", *table(scores), sep="\n", flush=True
    )


if __name__ == "__main__":
    main()
