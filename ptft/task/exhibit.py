"""What a task shows of an evaluation beside its numbers: matrices, reliability diagrams, galleries - as plain data.

A task says what is worth showing; commands draw it, on the terminal and as PNG, without knowing any task.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptft.metric.classification import calibration_bins

MOST_MISTAKES = 24
"""Pictures of a gallery of mistakes."""
MOST_EXPLAINED = (8, 8)
"""Wrong and right predictions that are explained."""


@dataclass(frozen=True)
class Matrix:
    """Counts of pairs of names: how often what stands in a row was taken for what stands in a column.

    Attributes:
        name: Its file becomes `<name>.png`.
        title: What it shows.
        rows: What a row is: `label`.
        columns: What a column is: `prediction`.
        names: Names of the rows, and of the columns.
        counts: (K, K) int64.
    """

    name: str
    title: str
    rows: str
    columns: str
    names: tuple[str, ...]
    counts: Tensor

    def pairs(self) -> list[tuple[int, int, int]]:
        """Return (row, column, count) of what was taken for something else, the most frequent first."""
        off_diagonal = self.counts.clone().fill_diagonal_(0)
        rows, columns = off_diagonal.nonzero(as_tuple=True)
        found = zip(rows.tolist(), columns.tolist(), off_diagonal[rows, columns].tolist(), strict=True)
        return sorted(found, key=lambda pair: -pair[2])


@dataclass(frozen=True)
class Reliability:
    """How often predictions of some confidence are right (arXiv 1706.04599): on the diagonal where it is honest.

    Attributes:
        name: Its file becomes `<name>.png`.
        title: What it shows.
        count: (K,) examples in each of K bins of equal width over 0 to 1.
        confidence: (K,) their mean score; 0 in an empty bin.
        accuracy: (K,) the share of right ones; 0 in an empty bin.
    """

    name: str
    title: str
    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error: mean distance of confidence and accuracy over examples, 0 to 1."""
        return float(((self.confidence - self.accuracy).abs() * self.count).sum() / self.count.sum())


@dataclass(frozen=True)
class Caption:
    """What stands under a picture.

    Attributes:
        label: What it is.
        prediction: What it was taken for.
        score: The probability of the prediction.
    """

    label: str
    prediction: str
    score: float


@dataclass(frozen=True)
class Gallery:
    """Examples to look at.

    Attributes:
        name: Its file becomes `<name>.png`.
        title: What it shows.
        index: (n,) numbers of the examples.
        captions: One for each.
        heat: (n, H, W) in [0, 1], what a map over each picture weighs most; None: no map.
    """

    name: str
    title: str
    index: Tensor
    captions: tuple[Caption, ...]
    heat: Tensor | None = None


Exhibit = Matrix | Reliability | Gallery


def confusion(label: Tensor, prediction: Tensor, names: Sequence[str]) -> Matrix:
    """Return the confusion matrix of (N,) labels and predictions; labels below 0 mean that there is none."""
    known = label >= 0
    cells = label[known] * len(names) + prediction[known]
    counts = torch.bincount(cells, minlength=len(names) ** 2).view(len(names), len(names))
    return Matrix("confusion", "Confusion matrix", "label", "prediction", tuple(names), counts)


def reliability(label: Tensor, prediction: Tensor, score: Tensor) -> list[Reliability]:
    """Return the reliability diagram of (N,) predictions and their probabilities; none where one is not finite."""
    if len(score) == 0 or not bool(torch.isfinite(score).all()):
        return []
    count, confidence, right = calibration_bins(score.double(), label == prediction)
    filled = count.clamp(min=1)
    return [Reliability("reliability", "Reliability", count.long(), confidence / filled, right / filled)]


def most_confident(label: Tensor, prediction: Tensor, score: Tensor, *, wrong: int = 0, right: int = 0) -> Tensor:
    """Return the places, among N, of the most confident wrong predictions, then of confident right ones.

    The right ones are the surest of each class by turns, or all of them would be of the easiest.
    """
    order = torch.argsort(torch.nan_to_num(score, nan=-1.0), descending=True, stable=True)
    order = order[label[order] >= 0]
    missed = (label != prediction)[order]
    hits = order[~missed]
    turn = torch.zeros(len(hits), dtype=torch.int64)  # 0 for the surest of its class, 1 for the next ...
    for number in torch.unique(label[hits]).tolist():
        own = label[hits] == number
        turn[own] = torch.arange(int(own.sum()))
    return torch.cat([order[missed][:wrong], hits[torch.argsort(turn, stable=True)][:right]])


def captions(values: Sequence[Tensor], names: Sequence[str]) -> tuple[Caption, ...]:
    """Return what stands under the pictures of n examples: their label, prediction and score, (n,) each."""
    rows = zip(*(column.tolist() for column in values), strict=True)
    return tuple(Caption(names[own], names[taken], value) for own, taken, value in rows)


def label_exhibits(
    records: dict[str, Tensor], names: Sequence[str], *, calibrated: bool = True, pictures: bool = True
) -> list[Exhibit]:
    """Return what is worth showing of predicted labels.

    Args:
        records: index, label, prediction and score of N examples.
        names: Names behind the numbers.
        calibrated: Whether a score is meant as the probability that the prediction is right.
        pictures: Whether an example's own picture is what was judged.
    """
    values = [records[name] for name in ("label", "prediction", "score")]
    exhibits: list[Exhibit] = [confusion(values[0], values[1], names)]
    if calibrated:
        exhibits += reliability(*values)
    mistakes = most_confident(*values, wrong=MOST_MISTAKES)
    if pictures and len(mistakes):
        found = captions([value[mistakes] for value in values], names)
        exhibits.append(Gallery("mistakes", "Most confident mistakes", records["index"][mistakes], found))
    return exhibits


def chosen_to_explain(records: dict[str, Tensor], names: Sequence[str]) -> Gallery:
    """Return the most confident mistakes and some confident right predictions, without their heat yet."""
    values = [records[name] for name in ("label", "prediction", "score")]
    wrong, right = MOST_EXPLAINED
    rows = most_confident(*values, wrong=wrong, right=right)
    found = captions([value[rows] for value in values], names)
    return Gallery("gradcam", "Grad-CAM: where the evidence for the prediction lies", records["index"][rows], found)


def rows_of(batches: Iterable[dict[str, Tensor]], index: Tensor) -> Tensor:
    """Return the images (n, C, H, W) of some examples, given by number, in that order; reads no further than needed."""
    found: dict[int, Tensor] = {}
    wanted = set(index.tolist())
    for batch in batches:
        for row, number in enumerate(batch["index"].tolist()):
            if number in wanted and number not in found:
                found[number] = batch["image"][row]
        if len(found) == len(wanted):
            break
    return torch.stack([found[number] for number in index.tolist()])
