"""What a language model must beat, on the splits of the recipes; `python -m benchmarks.language_baselines NAME PATH`.

    shakespeare  characters by the ones before them: n-grams up to 6, interpolated by Witten and Bell's rule (1991)
    brown        hidden tokens by how often each occurs in the training split, whatever stands around them; and whether
                 a segment follows by the more frequent answer of the training split

Losses in nats, on validation and test; nothing is chosen. Half a minute on one core.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptft.data.data_module import Batch, BatchPlan
from ptft.data.text.brown import Brown
from ptft.data.text.packed_text import PackedText
from ptft.data.text.shakespeare import Shakespeare
from ptft.data.text.tokenizer_training import TokenizerSettings
from ptft.task.text.masking import Masking
from ptft.task.text.tokens import IGNORED

Codes = npt.NDArray[np.int64]
ORDER = 6
PAIR_LENGTH, VOCABULARY = 64, 2_000


# ---- Shakespeare: n-grams ------------------------------------------------------------------------------------------


def stream(data: PackedText, split: str) -> Codes:
    """Return the tokens of a split in their order, but for the separator in front."""
    batches = list(data.evaluation_loaders(BatchPlan(batch_size=1024))[split])
    index = torch.cat([batch["index"] for batch in batches])
    labels = torch.cat([batch["labels"] for batch in batches])[index.argsort()].flatten()
    found: Codes = labels[labels != IGNORED].numpy()
    return found


def ngram_losses(train: Codes, held_out: Mapping[str, Codes], size: int, order: int) -> dict[str, list[float]]:
    """Return the mean loss of 1-grams, 2-grams ... of each text held out.

    A context that was seen N times with T different tokens behind it gives them count / (N + T) and leaves T / (N + T)
    to the next shorter context; what is left at last goes evenly to all `size` tokens.
    """
    probability = {name: np.full(len(text), 1 / size) for name, text in held_out.items()}
    losses: dict[str, list[float]] = {name: [] for name in held_out}
    for length in range(1, order + 1):
        codes, counts = np.unique(_grams(train, length, size), return_counts=True)
        contexts, place = np.unique(codes // size, return_inverse=True)
        seen = np.bincount(place, counts)
        kinds = np.bincount(place)
        for name, text in held_out.items():
            gram = _grams(text, length, size)
            times = _look_up(codes, counts, gram)
            number, kind = (_look_up(contexts, values, gram // size) for values in (seen, kinds))
            shorter = probability[name][length - 1 :]
            known = number > 0
            mixed = (times + kind * shorter) / np.maximum(number + kind, 1)
            probability[name][length - 1 :] = np.where(known, mixed, shorter)
            losses[name].append(float(-np.log(probability[name]).mean()))
    return losses


def _grams(tokens: Codes, length: int, size: int) -> Codes:
    """Return each run of `length` tokens as one number, (N - length + 1,); the last token is its lowest digit."""
    codes = np.zeros(len(tokens) - length + 1, dtype=np.int64)
    for step in range(length):
        codes = codes * size + tokens[step : len(tokens) - length + 1 + step]
    return codes


def _look_up(keys: Codes, values: npt.NDArray[np.generic], wanted: Codes) -> npt.NDArray[np.float64]:
    """Return the value of each wanted key, 0 where it is none of the ascending `keys`."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0).astype(np.float64)


def shakespeare(path: Path) -> None:
    """Print the losses of n-grams of characters."""
    data = Shakespeare((), path=str(path), layout="causal", tokenizer=TokenizerSettings(kind="character"))
    data.setup()
    held_out = {name: stream(data, name) for name in ("val", "test")}
    losses = ngram_losses(stream(data, "train"), held_out, data.spec.vocab_size, ORDER)
    for length in range(ORDER):
        row = "  ".join(f"{name} {values[length]:.4f}" for name, values in losses.items())
        print(f"{length + 1}-grams, nats a character: {row}")


# ---- Brown: frequencies --------------------------------------------------------------------------------------------


def brown(path: Path) -> None:
    """Print how well frequencies tell hidden tokens and next sentences."""
    settings = TokenizerSettings(vocab_size=VOCABULARY)
    data = Brown((), path=str(path), layout="pairs", max_length=PAIR_LENGTH, tokenizer=settings)
    data.setup()
    hide = Masking.of(data.spec, 0.15, 0.8, 0.1, whole_words=True)
    loaders = data.evaluation_loaders(BatchPlan(batch_size=256, transform=hide))
    tokens, follows = _answers(loaders["train"])
    counts = torch.bincount(tokens, minlength=data.spec.vocab_size).double()
    loss = -((counts + 1) / (counts + 1).sum()).log()  # one more of each: no token is impossible
    share = follows.double().mean()
    pair_loss = -torch.stack([1 - share, share]).log()
    for name in ("val", "test"):
        tokens, follows = _answers(loaders[name])
        print(
            f"{name}: hidden tokens {loss[tokens].mean():.4f} nats, perplexity {loss[tokens].mean().exp():.1f}, "
            f"accuracy {(tokens == counts.argmax()).double().mean():.4f}; next sentences "
            f"{pair_loss[follows].mean():.4f} nats, accuracy {(follows == (share > 0.5)).double().mean():.4f}"
        )


def _answers(batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Return the hidden tokens of some batches, and whether their pairs follow each other."""
    found = [(batch["labels"][batch["labels"] != IGNORED], batch["next_sentence"]) for batch in batches]
    tokens, follows = (torch.cat(column) for column in zip(*found, strict=True))
    return tokens, follows


def main() -> None:
    """Read the name of the data and their path, and print the baselines."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("name", choices=("shakespeare", "brown"))
    reader.add_argument("path", type=Path, help="as data.path of the recipe")
    given = reader.parse_args()
    {"shakespeare": shakespeare, "brown": brown}[given.name](given.path)


if __name__ == "__main__":
    main()
