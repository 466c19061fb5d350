"""Metrics of answers found in texts: exact match and F1, with and without an answer, joined over a text's windows.

A long text is read in windows, which may come in any order and in different batches. Of each window its best span and
its score for no answer are kept; the best span over all windows of an example is its answer, and the least of their
scores for no answer is that of the example (Devlin and others, arXiv 1810.04805, section 4.3). Everything is computed
at the end, in float64: any cut into batches gives the same values. An example counts once all its windows were seen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ptft.errors import DataError
from ptft.metric.bootstrap import Interval, mean_intervals, paired_difference
from ptft.metric.squad import Unit, exact_match, f1_score


@dataclass(frozen=True)
class WindowAnswer:
    """What a window says of its example; or several windows, joined.

    Attributes:
        index: The example.
        left: How many windows of the example have not been seen.
        answer: The best span.
        start: Its first character in the text.
        score: Logit of its start plus logit of its end; minus infinity where there is no span.
        null_score: The same for no answer.
        log_total: Logarithm of the sum of exp(score) over all pairs of tokens of the text.
        loss: The loss.
        windows: How many windows these are.
    """

    index: int
    left: int
    answer: str
    start: int
    score: float
    null_score: float
    log_total: float
    loss: float
    windows: int = 1

    def join(self, other: "WindowAnswer") -> "WindowAnswer":
        """Return what both say together; of equal scores the earlier and then the shorter span counts."""
        best = min(self, other, key=lambda window: (-window.score, window.start, len(window.answer)))
        return WindowAnswer(
            index=self.index,
            left=self.left - other.windows,
            answer=best.answer,
            start=best.start,
            score=best.score,
            null_score=min(self.null_score, other.null_score),
            log_total=log_add(self.log_total, other.log_total),
            loss=self.loss + other.loss,
            windows=self.windows + other.windows,
        )

    @property
    def margin(self) -> float:
        """By how much no answer is the more likely: above a threshold there is none."""
        return self.null_score - self.score


@dataclass(frozen=True)
class _Examples:
    """What is kept of some examples, in the order in which the last of their windows came."""

    answered: Tensor  # (N,) bool: whether there is a gold answer
    exact: Tensor  # (N,) float64: of the best span
    f1: Tensor  # (N,) float64: of the best span
    margin: Tensor  # (N,) float64
    loss: Tensor  # (N,) float64: summed over the windows
    windows: Tensor  # (N,) float64

    def select(self, rows: Tensor) -> "_Examples":
        """Return the examples that `rows`, (N,) bool, marks, or those of such numbers."""
        return _Examples(*(values[rows] for values in vars(self).values()))


class AnswerMetrics:
    """F1 and exact match; where an answer may be missing, also of both kinds of questions apart; and the loss."""

    def __init__(self, threshold: float | None, unit: Unit = "auto") -> None:
        """Start an evaluation.

        Args:
            threshold: By how much no answer must score above the best span to be the answer; None: there always is one.
            unit: What answers are compared by.
        """
        self.threshold = threshold
        self.unit = unit
        self._open: dict[int, WindowAnswer] = {}
        self._done: list[tuple[bool, float, float, float, float, float]] = []
        self._joined: _Examples | None = None

    def update(self, windows: Sequence[WindowAnswer], golds: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """Take windows in; return a row for each example that is complete with them, on the CPU.

        Args:
            windows: The windows.
            golds: All right answers to the question of each; empty: there is none.

        Returns:
            `index`, `start` and `end` (characters of the text; 0 and 0 without an answer), `null` (1: no answer),
            `score` (the probability of that), `exact` and `f1`.
        """
        rows: list[tuple[float, ...]] = []
        for window, gold in zip(windows, golds, strict=True):
            before = self._open.pop(window.index, None)
            joined = before.join(window) if before is not None else window
            if joined.left > 0:
                self._open[window.index] = joined
                continue
            span = (exact_match(joined.answer, gold, self.unit), f1_score(joined.answer, gold, self.unit))
            self._done.append((bool(gold), *span, joined.margin, joined.loss, float(joined.windows)))
            self._joined = None
            null = self.threshold is not None and joined.margin > self.threshold
            place = (0, 0) if null else (joined.start, joined.start + len(joined.answer))
            judged = (float(not gold),) * 2 if null else span
            rows.append((joined.index, *place, int(null), self._probability(joined, null=null), *judged))
        names = ("index", "start", "end", "null", "score", "exact", "f1")
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        kinds = (torch.int64,) * 4 + (torch.float64,) * 3
        return {n: torch.tensor(c, dtype=kind) for n, c, kind in zip(names, columns, kinds, strict=True)}

    def _probability(self, joined: WindowAnswer, *, null: bool) -> float:
        nulls = joined.null_score if self.threshold is not None else -math.inf
        return probability(joined.null_score if null else joined.score, log_add(joined.log_total, nulls))

    def compute(self) -> dict[str, float]:
        """Return each metric by name.

        Raises:
            DataError: No example was evaluated whole.
        """
        examples = self._examples()
        metrics = {name: float(values.mean()) for name, values in self._columns(examples).items()}
        metrics["loss"] = float(examples.loss.sum() / examples.windows.sum())
        return metrics

    def intervals(self) -> dict[str, Interval]:
        """Return 95% bootstrap intervals of all metrics but the loss."""
        return {name: mean_intervals(values[:, None])[0] for name, values in self._columns(self._examples()).items()}

    def table(self) -> list[dict[str, Any]]:
        """Return a row for questions with and one for those without an answer; nothing where all have one."""
        examples = self._examples()
        exact, f1 = self._judged(examples)
        rows = []
        for name, chosen in (("answer", examples.answered), ("no answer", ~examples.answered)):
            if self.threshold is not None and bool(chosen.any()):
                values = {"exact": float(exact[chosen].mean()), "f1": float(f1[chosen].mean())}
                rows.append({"class": name, **values, "support": int(chosen.sum())})
        return rows

    def best_threshold(self) -> float:
        """Return the threshold that gives the best mean F1; of equal ones the one closest to 0.

        It lies in the middle between two margins, or 1 beyond all of them.
        """
        examples = self._examples()
        margin, order = examples.margin.sort()
        # With the k smallest margins below the threshold, those k have an answer and the others none.
        gain = torch.cumsum((examples.f1 - (~examples.answered).double())[order], 0)
        total = torch.cat([torch.zeros(1, dtype=torch.float64), gain])
        finite = margin.clamp(-1e9, 1e9)
        edges = torch.cat([finite[:1] - 1, (finite[:-1] + finite[1:]) / 2, finite[-1:] + 1])
        possible = torch.ones(len(edges), dtype=torch.bool)
        possible[1:-1] = margin[1:] > margin[:-1]
        best = possible & (total >= total[possible].max() - 1e-9)
        return float(edges[best][edges[best].abs().argmin()])

    def subset(self, rows: Tensor) -> "AnswerMetrics":
        """Return metrics over the examples that `rows`, (N,) bool in the order of the records, marks."""
        chosen = AnswerMetrics(self.threshold, self.unit)
        chosen._joined = self._examples().select(rows)
        return chosen

    def differences(self, other: "AnswerMetrics") -> dict[str, Interval]:
        """Return 95% intervals of `other`'s metrics minus these, paired: both took in the same examples in order."""
        mine, theirs = self._columns(self._examples()), other._columns(other._examples())
        return {name: paired_difference(values, theirs[name])[1:] for name, values in mine.items() if name in theirs}

    def _judged(self, examples: _Examples) -> tuple[Tensor, Tensor]:
        """Return exact match and F1 of each example, (N,) float64 each, as the threshold decides."""
        if self.threshold is None:
            return examples.exact, examples.f1
        null, right = examples.margin > self.threshold, (~examples.answered).double()
        return torch.where(null, right, examples.exact), torch.where(null, right, examples.f1)

    def _columns(self, examples: _Examples) -> Mapping[str, Tensor]:
        """Return metrics that are means over (some) examples."""
        exact, f1 = self._judged(examples)
        columns = {"f1": f1, "exact": exact}
        if self.threshold is not None and bool(examples.answered.any()) and not bool(examples.answered.all()):
            columns["answer_f1"], columns["answer_exact"] = f1[examples.answered], exact[examples.answered]
            columns["no_answer_accuracy"] = exact[~examples.answered]
        return columns

    def _examples(self) -> _Examples:
        if self._joined is None:
            if not self._done:
                raise DataError("no question was evaluated with all windows of its text; evaluate more batches")
            columns = [torch.tensor(values, dtype=torch.float64) for values in zip(*self._done, strict=True)]
            columns[3].nan_to_num_(nan=0.0)  # a network that gives no numbers decides nothing
            self._joined = _Examples(columns[0].bool(), *columns[1:])
        return self._joined


def log_add(first: float, second: float) -> float:
    """Return log(exp(first) + exp(second))."""
    high, low = max(first, second), min(first, second)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def probability(score: float, log_total: float) -> float:
    """Return exp(score) as a share of exp(log_total), 0 where there is nothing."""
    return math.exp(min(0.0, score - log_total)) if log_total > -math.inf else 0.0
