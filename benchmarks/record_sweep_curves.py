"""Record what `benchmarks/sweeps.py` replays: `python -m benchmarks.record_sweep_curves`, minutes of one core.

A perceptron of two hidden layers learns scikit-learn's digits (600 to learn from, 1,197 to validate on) once for every
combination of AXES, by AdamW with the learning rate falling along a cosine over all EPOCHS. Written down is the
cross-entropy on validation after each epoch, of one seed: the same split for all, initial weights, order and dropout of
each point's own number.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import sklearn
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

FILE = Path(__file__).with_name("sweep_curves.json")
EPOCHS, TRAINED = 27, 600
AXES: Mapping[str, Sequence[str]] = {
    "lr": ("1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2", "1e-1", "3e-1"),
    "weight_decay": ("0", "1e-2", "1e-1", "1"),
    "width": ("16", "64", "256"),
    "batch_size": ("16", "64"),
    "dropout": ("0", "0.3"),
}
"""Each setting and its values, as they are typed."""


def digits() -> tuple[Tensor, Tensor]:
    """Return all digits in an order of their own: images (N, 64) in 0 to 1, labels (N,)."""
    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(found.data, dtype=torch.float32)[order] / 16, torch.tensor(found.target)[order]


def curve(point: Mapping[str, str], images: Tensor, labels: Tensor, seed: int) -> list[float]:
    """Train one point and return its loss on validation after each epoch."""
    torch.manual_seed(seed)
    width, batch_size, dropout = int(point["width"]), int(point["batch_size"]), float(point["dropout"])
    model = nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(width, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), float(point["lr"]), weight_decay=float(point["weight_decay"]))
    steps = EPOCHS * math.ceil(TRAINED / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(EPOCHS):
        model.train()
        for batch in torch.randperm(TRAINED).split(batch_size):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            losses.append(float(functional.cross_entropy(model(images[TRAINED:]), labels[TRAINED:])))
    return losses


def main() -> None:
    torch.set_num_threads(1)
    began = time.process_time()
    images, labels = digits()
    curves = []
    for number, values in enumerate(itertools.product(*AXES.values())):
        losses = curve(dict(zip(AXES, values, strict=True)), images, labels, seed=number)
        curves.append([float(f"{loss:.4g}") if math.isfinite(loss) else None for loss in losses])
    seconds = time.process_time() - began
    how = " ".join((__doc__ or "").split("\n\n")[1].split())
    facts = {
        "how": how,
        "versions": f"torch {torch.__version__}, scikit-learn {sklearn.__version__}",
        "cpu_seconds": round(seconds),
        "axes": AXES,
        "order": "the last setting changes fastest",
    }
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in curves)
    FILE.write_text(f'{json.dumps(facts, indent=1)[:-2]},\n "val_loss": [\n{lines}\n]}}\n')
    print(f"{len(curves)} trainings in {seconds:.0f} CPU seconds: {FILE}")


if __name__ == "__main__":
    main()
