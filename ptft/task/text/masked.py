"""Masked language modelling: hidden tokens from those around them (BERT, Devlin and others, arXiv 1810.04805).

The head is worked out on the hidden tokens only. Legend: B batch, T time, N hidden tokens of the batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.loss.distillation import distillation_sum
from ptft.metric.language import LanguageMetrics
from ptft.runtime.random import Draws
from ptft.task.exporting import network_export
from ptft.task.task import ExportSpec, Media, MetricSpec, Outputs, Records, StepOutput, Task
from ptft.task.text.filling import filled, kept_guesses, masks_as_labels, shown_guesses
from ptft.task.text.masking import Masking
from ptft.task.text.tokens import (
    chosen,
    network_outputs,
    outputs_with_logits,
    records,
    sums_by_example,
    token_outputs,
)
from ptft.task.text.vocabulary import check_layout, tokenizer_of
from ptft.types import PositiveInt, PositiveShare, UnitFloat

NUM_SAMPLES = 4
"""Texts of which the guesses are shown after an evaluation."""


class Masked(Task):
    """A network that tells hidden tokens; judged by the loss in nats a hidden token.

    At evaluations the same tokens are hidden every time, in every run.
    """

    headline = MetricSpec("loss", "min")
    labelled = False
    distils = True
    output = "masked"

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        mask_fraction: PositiveShare = 0.15,
        as_mask: UnitFloat = 0.8,
        as_random: UnitFloat = 0.1,
        whole_words: bool = True,
        candidates: PositiveInt = 5,
    ) -> None:
        """Wrap a network that maps tokens (B, T) to logits (N, vocabulary) of the chosen tokens.

        Args:
            model: The network.
            spec: What the data know.
            mask_fraction: Share of the tokens of a text that is hidden, special ones not counted.
            as_mask: Share of the hidden tokens that become the mask token.
            as_random: Share of them that become any other token; the rest stays as it is.
            whole_words: Hide words, not single tokens of them.
            candidates: How many tokens `ptft predict` tells for a mask.

        Raises:
            ConfigError: The shares make more than a whole, or the data are laid out for another task.
            DataError: The tokenizer has no mask token.
        """
        super().__init__()
        self.check_data(spec)
        self.model = model
        self.spec = spec
        self.masking = Masking.of(spec, mask_fraction, as_mask, as_random, whole_words)
        self.candidates = candidates
        self._shown: list[tuple[list[int], list[int], list[int]]] = []

    def check_data(self, spec: DataSpec) -> None:
        """See that the data fit.

        Raises:
            ConfigError: They are laid out for another task.
        """
        check_layout(spec, "text/masked", "masked", "pairs")

    # --- Training -----------------------------------------------------------------------------------------------------

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        """Hide tokens in `input_ids` (B, T) and add `labels` (B, T), which tell what they were."""
        return self.masking(batch, draws)

    def forward(self, batch: Batch) -> Outputs:
        """Return `token_loss` (N,) of the hidden tokens; without gradients also `prediction` (N,)."""
        return token_outputs(self.model, self.spec, batch)

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of hidden tokens."""
        return {"masked": chosen(batch).sum()}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the negative log likelihood of the hidden tokens, summed."""
        return StepOutput({"masked": outputs["token_loss"].sum()})

    def full_outputs(self, batch: Batch) -> Outputs:
        """Return what `forward` does with gradients, and `logits` (N, vocabulary)."""
        return outputs_with_logits(self.model, self.spec, batch)

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return the number of hidden tokens."""
        return {"distillation": chosen(batch).sum()}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return the divergence from the teacher's probabilities over the vocabulary, summed over hidden tokens."""
        return StepOutput({"distillation": distillation_sum(outputs["logits"], teacher["logits"], temperature)})

    # --- Evaluation ---------------------------------------------------------------------------------------------------

    def before_evaluation(self, loaders: Mapping[str, Iterable[Batch]]) -> None:
        """Forget the texts shown last."""
        self._shown = []

    def make_metrics(self) -> LanguageMetrics:
        """Return fresh metrics."""
        return LanguageMetrics()

    def evaluation_columns(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return what the metrics take in: the sums of each example over its hidden tokens, (B,) float64 each."""
        return sums_by_example(outputs, batch)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: LanguageMetrics) -> Records:
        """Return index, the mean loss of an example's hidden tokens, and how many they are."""
        columns = self.evaluation_columns(outputs, batch)
        metrics.update(columns)
        self._shown += kept_guesses(batch, outputs["prediction"], NUM_SAMPLES - len(self._shown))
        return records(columns, batch)

    def samples(self, generator: torch.Generator) -> Media | None:
        """Return `guesses`: the first texts of the evaluation, what was hidden in them and what was said instead."""
        if not (self._shown and self.spec.files):
            return None
        return {"guesses": shown_guesses(self._shown, tokenizer_of(self.spec))}

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from tokens to logits (B, T, vocabulary) of all of them."""
        return network_export(self.model, self.spec)

    def predict(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return each row's `text` with its masks filled, and the candidates of each of its `masks`."""
        return self.fill(batch)[0]

    def fill(self, batch: Batch) -> tuple[list[dict[str, Any]], list[Tensor]]:
        """Return the answer to each row of a batch with mask tokens, and what else the network gave."""
        batch = masks_as_labels(batch, self.masking.mask)
        logits, *rest = network_outputs(self.model, self.spec, batch)
        tokenizer = tokenizer_of(self.spec)
        return filled(batch, logits, tokenizer, self.masking.specials, self.candidates), rest
