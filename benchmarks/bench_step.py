"""CPU time of a training step beside a bare PyTorch loop, one thread; `python -m benchmarks.bench_step`.

(a) An MLP 64-64-10 on the 8x8 digits: what the engine itself costs. ptft's whole run is counted, from the first step
    to the last checkpoint: metrics, progress line, a log line every 50 steps, an evaluation and a checkpoint every 500.
    The bare loop reads a TensorDataset that is already normalised, reads the loss every 50 steps, and neither evaluates
    nor saves.
(b) A VGG of 32, 64 and 128 channels on Fashion-MNIST: what the arithmetic costs. The bare loop reads PIL images with
    ToTensor and Normalize, as torchvision's data sets give them; a second one reads normalised floats. Steps alone are
    counted, no evaluation and no checkpoint.
"""

import functools

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from benchmarks.contest import Entrant, Row, contest, show
from benchmarks.loops import Labelled, accelerate_loop, bare_loop, lightning_loop, ptft_loop, trainer_loop
from ptft.data.data_module import BatchPlan
from ptft.data.image_arrays import ImageArrays
from ptft.data.in_memory import InMemoryImages
from ptft.data.vision.digits import Digits
from ptft.data.vision.fashion_mnist import FashionMNIST
from ptft.errors import DataError
from ptft.model.vision.vgg import VGG

OVERHEAD_LIMIT, FP32_LIMIT, AUTO_LIMIT = 1.10, 1.0, 0.40
OVERHEAD_STEPS, OVERHEAD_ROUNDS = 5_000, 3
STEPS, ROUNDS = 20, 5
WIDTHS, DEPTHS = [32, 64, 128], [1, 1, 1]


def overhead() -> list[Row]:
    """(a) What the engine itself costs."""
    data = Digits([])
    data.setup()
    images, labels = _train_split(data)
    flat = TensorDataset(images.flatten(1), labels)
    ours = functools.partial(
        ptft_loop,
        *("data=vision/digits", "model=vision/mlp", "schedule=constant", "engine.batch_size=32"),
        *("engine.log_every=50st", "engine.evaluate_every=500st", "engine.checkpoint_every=500st"),
        steps=OVERHEAD_STEPS,
        whole=True,
    )
    section = "(a) MLP 64-64-10, digits, batch 32; CPU a step"
    return contest(
        section,
        [
            Entrant("bare PyTorch, TensorDataset", lambda: bare_loop(flat, _mlp, 32)),
            Entrant(f"ptft, everything on (at most {OVERHEAD_LIMIT:.2f})", lambda: ours("engine.precision=fp32")),
            *_rivals(flat, _mlp, 32),
        ],
        steps=OVERHEAD_STEPS,
        warmup=500,
        rounds=OVERHEAD_ROUNDS,
    )


def arithmetic() -> list[Row]:
    """(b) What the arithmetic costs."""
    section = "(b) VGG 32-64-128, Fashion, batch 128; CPU a step"
    data = FashionMNIST([])
    try:
        data.setup()
    except DataError as error:
        return [Row(section, "all", None, "", note=f"left out: {error}")]
    pictures = Pictures(data.read(), data.spec.mean, data.spec.std)
    floats = TensorDataset(*_train_split(data))
    make_model = functools.partial(VGG, data.spec, widths=WIDTHS, depths=DEPTHS, hidden=[])
    ours = functools.partial(
        ptft_loop,
        *("data=vision/fashion_mnist", "model=vision/vgg", "schedule=constant", "engine.batch_size=128"),
        *(f"model.widths={WIDTHS}", f"model.depths={DEPTHS}", "model.hidden=[]", "engine.evaluation_batches=1"),
        steps=4_000,
        whole=False,
    )
    return contest(
        section,
        [
            Entrant("bare PyTorch, PIL + ToTensor + Normalize", lambda: bare_loop(pictures, make_model, 128)),
            Entrant("bare PyTorch, normalised TensorDataset", lambda: bare_loop(floats, make_model, 128)),
            Entrant("bare PyTorch, PIL, bf16 autocast", lambda: bare_loop(pictures, make_model, 128, autocast=True)),
            Entrant(f"ptft, fp32 (at most {FP32_LIMIT:.2f})", lambda: ours("engine.precision=fp32")),
            Entrant(f"ptft, precision=auto (at most {AUTO_LIMIT:.2f})", lambda: ours("engine.precision=auto")),
            *_rivals(pictures, make_model, 128),
        ],
        steps=STEPS,
        warmup=3,
        rounds=ROUNDS,
    )


def _rivals(data: Labelled, make_model: functools.partial[nn.Module], batch_size: int) -> list[Entrant]:
    return [
        Entrant("accelerate", lambda: accelerate_loop(data, make_model, batch_size), "accelerate"),
        # Trainer is part of transformers but does not import without accelerate.
        Entrant("HF Trainer", lambda: trainer_loop(data, make_model, batch_size), "accelerate"),
        Entrant("Lightning", lambda: lightning_loop(data, make_model, batch_size), "lightning"),
    ]


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def _train_split(data: InMemoryImages) -> tuple[Tensor, Tensor]:
    """Return the normalised images (N, C, H, W) and labels of the training split."""
    batches = data.evaluation_loaders(BatchPlan(batch_size=1 << 20))["train"]
    batch = next(iter(batches))
    return batch["image"], batch["label"]


class Pictures(Dataset[tuple[Tensor, int]]):
    """As torchvision.datasets.FashionMNIST gives them: a PIL image, transformed when it is asked for."""

    def __init__(self, arrays: ImageArrays, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        from torchvision import transforms

        self.images, self.labels = torch.from_numpy(arrays.images[:60_000, 0]), torch.from_numpy(arrays.labels)
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image: Tensor = self.transform(Image.fromarray(self.images[index].numpy()))
        return image, int(self.labels[index])


def main() -> None:
    torch.set_num_threads(1)
    show(overhead())
    show(arithmetic())


if __name__ == "__main__":
    main()
