"""From nothing to a compressed model, on real images: `make demo`, or `python -m benchmarks.demo`.

Pre-trains a network on the bundled digits without labels, fine-tunes it with three labels a class, trains the same
network from scratch with the same labels, evaluates both on the test split and compares them. Then trains one on all
labels, compresses it and predicts with what was delivered. Every step is a `ptft` command, printed before it runs;
whatever comes out is what the tables say. Runs go to outputs/demo-*, and can be made again.
"""

import csv
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]

OUTPUT = Path("outputs")
STEPS = {
    "Learn features from images alone: no label is read": (
        "pretrain experiment=vision/digits_simclr name=demo-ssl overwrite=true"
    ),
    "Fine-tune them with 30 labels, three a class": (
        "finetune experiment=vision/digits_few_labels init_from=demo-ssl name=demo-ft overwrite=true"
    ),
    "Train the same network from scratch with the same 30 labels": (
        "finetune experiment=vision/digits_few_labels name=demo-scratch overwrite=true"
    ),
    "Evaluate the fine-tuned network on the test split": "evaluate run=demo-ft name=demo-ft-test overwrite=true",
    "Evaluate the one from scratch": "evaluate run=demo-scratch name=demo-scratch-test overwrite=true",
}
DIGIT = OUTPUT / "demo-digit.png"
COMPRESSING = {
    "Train the digits with all labels": "finetune experiment=vision/digits name=demo-digits overwrite=true",
    "Compress it: channels pruned, then int8; at most a point may be lost": (
        "compress run=demo-digits experiment=compress/digits name=demo-small overwrite=true"
    ),
    "Predict with what was delivered: a picture of a three": f"predict run=demo-small input={DIGIT}",
}


def run_steps(steps: Mapping[str, str], done: int = 0, total: int | None = None) -> int:
    """Print and run each command; return the exit code of the first that fails, or 0.

    Args:
        steps: Commands by what they do.
        done: Steps that came before, as they are numbered.
        total: How many there are in all; None: these.
    """
    total = total or len(steps)
    # Batches are small: more threads would win little here and lose much on a busy machine.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    for number, (title, arguments) in enumerate(steps.items(), start=done + 1):
        print(f"\n--- {number} of {total}. {title}\n{shown(arguments)}", flush=True)
        code = subprocess.run([sys.executable, "-m", "ptft", *arguments.split()], env=environment).returncode
        if code != 0:
            return code
    return 0


def shown(arguments: str) -> str:
    """Return a command as one would type it, in lines of at most 80 columns."""
    return " \\\n    ".join(textwrap.wrap(f"$ ptft {arguments}", 74, break_on_hyphens=False))


def correct(evaluation: Path) -> dict[int, bool]:
    """Return for each example of an evaluation, by its number, whether its prediction was right."""
    with (evaluation / "predictions.csv").open(newline="") as file:
        return {int(row["index"]): row["label"] == row["prediction"] for row in csv.DictReader(file)}


def paired_difference(first: Mapping[int, bool], second: Mapping[int, bool]) -> tuple[float, float, float]:
    """Return the accuracy of `first` minus that of `second` and its 95% interval, all three in points.

    Both judged the same examples, so the differences are taken example by example and those are drawn again.

    Raises:
        ValueError: They did not judge the same examples.
    """
    import torch

    from ptft.metric import bootstrap

    if first.keys() != second.keys():
        raise ValueError(f"expected the same examples on both sides, found {len(first)} and {len(second)} that differ")
    own, other = (torch.tensor([100.0 * side[index] for index in sorted(first)]) for side in (first, second))
    return bootstrap.paired_difference(other, own)


def compare(tuned: Path, scratch: Path) -> tuple[Rows, str]:
    """Return the rows of the table and a sentence on what they say.

    Args:
        tuned: The evaluation of the network that was fine-tuned.
        scratch: The evaluation of the one from scratch.
    """
    rows: Rows = []
    for name, folder in {"from scratch": scratch, "fine-tuned": tuned}.items():
        accuracy = json.loads((folder / "summary.json").read_bytes())["metrics"]["test/accuracy"]
        value, low, high = (100 * accuracy[key] for key in ("value", "low", "high"))
        rows.append({"30 labels": name, "test accuracy": f"{value:.1f}%", "95% interval": f"{low:.1f} to {high:.1f}"})
    value, low, high = paired_difference(correct(tuned), correct(scratch))
    rows.append(
        {"30 labels": "difference", "test accuracy": f"{value:+.1f}", "95% interval": f"{low:+.1f} to {high:+.1f}"}
    )
    if low > 0:
        return rows, "Fine-tuning from the self-supervised run is better: the interval lies above zero."
    if high < 0:
        return rows, "Training from scratch is better here: the interval lies below zero."
    return rows, "No clear difference: the interval holds zero."


def draw_digit(path: Path) -> None:
    """Write one of the bundled digits, a three, as a picture."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels = load_digits().images[3] * 15  # 0 to 16, as the data set has them
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def main() -> int:
    """Run all steps and show the comparison."""
    started = time.monotonic()
    total = len(STEPS) + len(COMPRESSING)
    if code := run_steps(STEPS, total=total):
        return code
    compare_labels()
    draw_digit(DIGIT)
    if code := run_steps(COMPRESSING, done=len(STEPS), total=total):
        return code
    runs = [OUTPUT / name / "summary.json" for name in ("demo-ssl", "demo-ft", "demo-scratch", "demo-digits")]
    training = sum(json.loads(file.read_bytes())["cost"]["seconds"] for file in runs)
    print(f"\n{time.monotonic() - started:.0f} seconds, {training:.0f} of them training; runs in outputs/demo-*")
    return 0


def compare_labels() -> None:
    """Show what pre-training gained with 30 labels."""
    from ptft.engine.console import Console

    tuned, scratch = OUTPUT / "demo-ft-test", OUTPUT / "demo-scratch-test"
    rows, verdict = compare(tuned, scratch)
    console = Console()
    console.say("")
    console.table(f"{len(correct(tuned))} test images", rows)
    console.say(verdict)
    console.say("The intervals tell the chance in the test images, for this one training a side;")
    console.say("configs/experiment/vision/digits_few_labels.yaml tells the mean over several.")


if __name__ == "__main__":
    raise SystemExit(main())
