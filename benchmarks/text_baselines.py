"""What plain methods reach on the texts of the recipes: `python -m benchmarks.text_baselines spam_assassin PATH`.

The majority class, and logistic regression on the tf-idf of words or of groups of characters, on the very rows of
train, val and test that `data=text/spam_assassin` or `data=text/reviews_zh` gives to a network. The strength of the
penalty is chosen on validation, and test is read with that one alone. Words and characters are counted in the whole
text, and, marked so, in what is left of it at `--max-length` tokens: all that a network sees. Minutes of one core.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from ptft.data.data_module import BatchPlan
from ptft.data.text.examples import TextExamples
from ptft.data.text.reviews_zh import ReviewsZh
from ptft.data.text.spam_assassin import SpamAssassin
from ptft.data.text.tokenizer import TextTokenizer

SETS: Mapping[str, type[TextExamples]] = {"spam_assassin": SpamAssassin, "reviews_zh": ReviewsZh}
STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse strengths of the penalty that are tried, scikit-learn's C."""
FEATURES: Mapping[str, Mapping[str, Any]] = {
    "words": {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    "characters": {"analyzer": "char", "ngram_range": (1, 3)},
}
"""What is counted; a word of Chinese, which writes no spaces, would be a whole clause."""


@dataclass(frozen=True)
class Split:
    """A split: texts, what is left of them at the length that a network sees, and labels."""

    texts: Sequence[str]
    cut: Sequence[str]
    labels: np.ndarray


def read(data: TextExamples) -> dict[str, Split]:
    """Return the splits as the data give them to a network."""
    data.setup()
    tokenizer = TextTokenizer.from_files(data.spec.files)
    splits = {}
    for name, loader in data.evaluation_loaders(BatchPlan(batch_size=256)).items():
        texts, cut, labels = [], [], []
        for batch in loader:
            texts += data.texts(batch["index"])
            cut += [tokenizer.decode(row) for row in batch["input_ids"].tolist()]
            labels += batch["label"].tolist()
        splits[name] = Split(texts, cut, np.array(labels))
    return splits


def row(name: str, truth: Split, prediction: np.ndarray, val: float | None = None) -> str:
    """Return a row of the table: validation and test accuracy, F1 of the second class and macro F1, in percent."""
    scores = [accuracy_score(truth.labels, prediction), f1_score(truth.labels, prediction, zero_division=0)]
    scores.append(f1_score(truth.labels, prediction, average="macro"))
    chosen = "" if val is None else f"{100 * val:.1f}"
    return f"| {name} | {chosen} | " + " | ".join(f"{100 * score:.1f}" for score in scores) + " |"


def majority(splits: Mapping[str, Split]) -> str:
    """Return the row of the most frequent class of the training split."""
    label = np.bincount(splits["train"].labels).argmax()
    return row("majority class", splits["test"], np.full(len(splits["test"].labels), label))


def regression(splits: Mapping[str, Split], kind: str, *, cut: bool) -> str:
    """Return the row of logistic regression on tf-idf, as strong as is best on validation."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=300_000, **FEATURES[kind])
    texts = {name: split.cut if cut else split.texts for name, split in splits.items()}
    features = {name: vectorizer.fit_transform(texts[name]) for name in ("train",)}
    features |= {name: vectorizer.transform(texts[name]) for name in ("val", "test")}
    best: tuple[float, Any] = (-1.0, None)
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(features["train"], splits["train"].labels)
        score = accuracy_score(splits["val"].labels, model.predict(features["val"]))
        best = max(best, (score, model), key=lambda pair: pair[0])  # the first of equally good ones
    name = f"tf-idf of {kind}{', text as cut' if cut else ''}, C={best[1].C:g}"
    return row(name, splits["test"], best[1].predict(features["test"]), best[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=SETS, help="which texts")
    parser.add_argument("path", help="data.path of the recipes")
    parser.add_argument("--max-length", type=int, default=128, help="data.max_length")
    parser.add_argument("--split-seed", type=int, default=0, help="data.split.seed")
    arguments = parser.parse_args()
    data = SETS[arguments.data](
        (), path=arguments.path, max_length=arguments.max_length, split={"seed": arguments.split_seed}
    )
    splits = read(data)
    print(data.describe(), flush=True)
    print("| method | val accuracy | test accuracy | test F1 | test macro F1 |\n|---|---|---|---|---|", flush=True)
    print(majority(splits), flush=True)
    for kind in FEATURES:
        for cut in (False, True):
            if kind == "characters" or arguments.data != "reviews_zh":
                print(regression(splits, kind, cut=cut), flush=True)


if __name__ == "__main__":
    main()
