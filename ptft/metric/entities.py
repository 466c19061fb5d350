"""Metrics of entities in rows of tagged words: precision, recall and F1, equal to seqeval's strict mode with IOB2.

An entity is found if its first word, its last word and its type are all right; nothing else counts. Sums run over whole
examples, in float64, so that any cut into batches gives the same values, and intervals draw whole examples again.
What is divided by nothing is 0, as in seqeval.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ptft.errors import DataError
from ptft.metric.bootstrap import Interval, sum_intervals
from ptft.metric.tag_set import TagSet

_HITS, _SUPPORT, _GIVEN = 0, 1, 2
RECORDS = ("index", "entities", "predicted", "right", "token_accuracy")
"""What is kept of each example: entities there are, predicted ones, those of them that are right."""


class EntityMetrics:
    """Precision, recall and F1 of entities, over all and by type; accuracy of single words; plain cross entropy."""

    def __init__(self, tags: TagSet) -> None:
        """Start an evaluation."""
        self.tags = tags
        self._counts: list[Tensor] = []
        self._words: list[tuple[float, ...]] = []

    def update(self, gold: Sequence[int], predicted: Sequence[int], loss: float, num_losses: int) -> tuple[float, ...]:
        """Take a whole example in; return what is kept of it, as `RECORDS` from its second name on.

        Args:
            gold: The tag of each word.
            predicted: The same, predicted.
            loss: Sum of the cross entropies of its words.
            num_losses: How many these are: words that are no token of their own have none.
        """
        if len(gold) != len(predicted):
            raise ValueError(f"expected a tag for each of {len(gold)} words, found {len(predicted)}")
        there, given = set(self.tags.entities(gold)), set(self.tags.entities(predicted))
        counts = torch.zeros(3, len(self.tags.types), dtype=torch.int32)
        for place, entities in ((_HITS, there & given), (_SUPPORT, there), (_GIVEN, given)):
            for entity in entities:
                counts[place, entity.type] += 1
        right = sum(a == b for a, b in zip(gold, predicted, strict=True))
        self._counts.append(counts[None])
        self._words.append((float(right), float(len(gold)), loss, float(num_losses)))
        return len(there), len(given), len(there & given), right / max(1, len(gold))

    def compute(self) -> dict[str, float]:
        """Return each metric by name.

        Raises:
            DataError: No example was evaluated whole.
        """
        counts, words = self._examples()
        by_type = counts.sum(0).double()  # (3, K)
        present = (by_type[_SUPPORT] + by_type[_GIVEN] > 0).sum().clamp(min=1)
        metrics = {name: float(values[0]) for name, values in _metrics(self._columns().sum(0)[None]).items()}
        metrics["f1_macro"] = float(_ratios(by_type)["f1"].sum() / present)
        loss, num_losses = words[:, 2:].sum(0).tolist()
        return metrics | {"loss": loss / max(1.0, num_losses)}

    def intervals(self) -> dict[str, Interval]:
        """Return 95% bootstrap intervals over examples of all metrics but the macro mean and the loss."""
        return sum_intervals(self._columns(), _metrics)

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each type: precision, recall, F1, and how many entities there are and are predicted."""
        by_type = self._examples()[0].sum(0).double()
        columns = {name: values.tolist() for name, values in _ratios(by_type).items()}
        return [
            {"class": name}
            | {column: values[number] for column, values in columns.items()}
            | {"support": int(by_type[_SUPPORT, number]), "predicted": int(by_type[_GIVEN, number])}
            for number, name in enumerate(self.tags.types)
        ]

    def subset(self, rows: Tensor) -> "EntityMetrics":
        """Return metrics over the examples that `rows`, (N,) bool in the order they came in, marks."""
        chosen = EntityMetrics(self.tags)
        counts, words = self._examples()
        chosen._counts = [counts[rows]]
        chosen._words = [tuple(values) for values in words[rows].tolist()]
        return chosen

    def differences(self, other: "EntityMetrics") -> dict[str, Interval]:
        """Return 95% intervals of `other`'s metrics minus these, paired: both took in the same examples in one order.

        Raises:
            ValueError: They did not.
        """
        mine, theirs = self._columns(), other._columns()
        fixed = [1, 4]  # entities and words that there are
        if self.tags.classes != other.tags.classes or not torch.equal(mine[:, fixed], theirs[:, fixed]):
            raise ValueError("expected metrics over the same tags and examples in the same order")

        def difference(sums: Tensor) -> dict[str, Tensor]:
            first, second = _metrics(sums[:, : mine.shape[1]]), _metrics(sums[:, mine.shape[1] :])
            return {name: second[name] - first[name] for name in first}

        return sum_intervals(torch.cat([mine, theirs], dim=1), difference)

    def _examples(self) -> tuple[Tensor, Tensor]:
        """Return counts by type (N, 3, K) int32; and words that are right, words, losses and their number (N, 4)."""
        if not self._counts:
            raise DataError("no text was evaluated with all its windows; evaluate more batches")
        self._counts = [torch.cat(self._counts)]
        return self._counts[0], torch.tensor(self._words, dtype=torch.float64).view(-1, 4)

    def _columns(self) -> Tensor:
        """Return entities that are right, that there are, that are predicted; words right, words: (N, 5) float64."""
        counts, words = self._examples()
        return torch.cat([counts.sum(dim=2).double(), words[:, :2]], dim=1)


def _ratios(counts: Tensor) -> Mapping[str, Tensor]:
    """Return F1, precision and recall, of counts (3, ...) each in turn: right, there, predicted."""
    hits, support, given = counts
    pairs = {"f1": (2 * hits, support + given), "precision": (hits, given), "recall": (hits, support)}
    return {name: part / whole.clamp(min=1) for name, (part, whole) in pairs.items()}


def _metrics(sums: Tensor) -> dict[str, Tensor]:
    """Return each metric, (R,), of sums (R, 5) over examples."""
    return {**_ratios(sums[:, :3].T), "token_accuracy": sums[:, 3] / sums[:, 4].clamp(min=1)}
