"""Metrics of language models: sums over all tokens divided once at the end, in float64, exact at any batch size.

Perplexity is exp(total negative log likelihood / total tokens): a mean of the batches' or of the examples' perplexities
is another number, and depends on how the text was cut. Bits per byte divide by the bytes of the raw text instead, and
so compare models with different tokenizers.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ptft.errors import DataError
from ptft.metric.bootstrap import Interval, sum_intervals


class LanguageMetrics:
    """Loss in nats a token, perplexity and accuracy of the tokens asked for; bits per byte; next sentences.

    With pairs of sentences `loss` is that of the tokens plus the weighted one of the pairs, and both stand alone too:
    `token_loss` and `next_sentence_loss`.
    """

    def __init__(self, pair_weight: float | None = None) -> None:
        """Start an evaluation.

        Args:
            pair_weight: What the loss of the next-sentence prediction counts; None: there is none.
        """
        self.pair_weight = pair_weight
        self._batches: list[dict[str, Tensor]] = []

    def update(self, columns: Mapping[str, Tensor]) -> None:
        """Take in the sums of some examples, (B,) float64 on the CPU each.

        Args:
            columns: `loss`, `tokens` and `hits` over the tokens of each example; `bytes` of raw text behind them where
                known; with pairs `pairs`, `pair_loss` and `pair_hits`.
        """
        self._batches.append(dict(columns))

    def compute(self) -> dict[str, float]:
        """Return each metric by name.

        Raises:
            DataError: No token was asked for.
        """
        columns = self._columns()
        totals = {name: values.sum(dim=0, keepdim=True) for name, values in columns.items()}
        if not float(totals["tokens"]):
            raise DataError("no token was asked for in the whole split, so there is no loss; are its texts empty?")
        return {name: float(value[0]) for name, value in self._metrics(totals).items()}

    def intervals(self) -> dict[str, Interval]:
        """Return the 95% interval of each metric; examples are drawn again, not tokens, which hang together."""
        columns = self._columns()
        return sum_intervals(
            torch.stack(list(columns.values()), dim=1), lambda sums: self._metrics(_named(columns, sums))
        )

    def table(self) -> list[dict[str, Any]]:
        """Return no rows: there are no classes."""
        return []

    def subset(self, rows: Tensor) -> "LanguageMetrics":
        """Return metrics over the examples that `rows`, (N,) bool in the order they came in, marks."""
        part = LanguageMetrics(self.pair_weight)
        part._batches = [{name: values[rows] for name, values in self._columns().items()}]
        return part

    def differences(self, other: "LanguageMetrics") -> dict[str, Interval]:
        """Return 95% intervals of `other`'s metrics minus these, paired: both took in the same examples in one order.

        Raises:
            ValueError: They did not.
        """
        mine, theirs = self._columns(), other._columns()
        if mine.keys() != theirs.keys() or len(mine["tokens"]) != len(theirs["tokens"]):
            raise ValueError("expected metrics over the same examples in the same order")

        def difference(sums: Tensor) -> dict[str, Tensor]:
            first, second = sums.chunk(2, dim=1)
            before, after = self._metrics(_named(mine, first)), other._metrics(_named(theirs, second))
            return {name: after[name] - before[name] for name in before}

        return sum_intervals(torch.stack([*mine.values(), *theirs.values()], dim=1), difference)

    def _columns(self) -> dict[str, Tensor]:
        """Return the sums of all examples, (N,) each, in the order they came in."""
        if not self._batches:
            raise DataError("no example was evaluated, so there are no metrics; expected at least one batch")
        self._batches = [{name: torch.cat([batch[name] for batch in self._batches]) for name in self._batches[0]}]
        return self._batches[0]

    def _metrics(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each metric, (R,), of sums over R draws of examples, (R,) each."""
        loss = sums["loss"] / sums["tokens"]
        metrics = {"loss": loss, "perplexity": loss.exp(), "accuracy": sums["hits"] / sums["tokens"]}
        if "bytes" in sums:
            metrics["bits_per_byte"] = sums["loss"] / (math.log(2) * sums["bytes"])
        if self.pair_weight is not None:
            pair_loss, pair_accuracy = (sums[name] / sums["pairs"] for name in ("pair_loss", "pair_hits"))
            metrics |= {
                "loss": loss + self.pair_weight * pair_loss,
                "token_loss": loss,
                "next_sentence_loss": pair_loss,
                "next_sentence_accuracy": pair_accuracy,
            }
        return metrics


def _named(columns: Mapping[str, Tensor], sums: Tensor) -> dict[str, Tensor]:
    """Return sums (R, K) by the names of the columns."""
    return dict(zip(columns, sums.unbind(dim=1), strict=True))
