"""BERT's pre-training: hidden tokens, and whether a second segment follows the first (arXiv 1810.04805, section 3.1).

Two loss terms, each a mean of its own: over hidden tokens, and over pairs. Legend: B batch, T time, N hidden tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import DataError
from ptft.loss.cast import at_least_float32
from ptft.loss.distillation import distillation_sum
from ptft.metric.language import LanguageMetrics
from ptft.runtime.random import Draws
from ptft.task.exporting import network_export
from ptft.task.task import ExportSpec, Outputs, Records, StepOutput
from ptft.task.text.masked import Masked
from ptft.task.text.vocabulary import check_layout
from ptft.types import NonNegativeFloat, PositiveInt, PositiveShare, UnitFloat


class Pretraining(Masked):
    """Masked language modelling and next-sentence prediction; judged by the sum of both losses.

    Batches hold `next_sentence` (B,): 1 where the second segment follows the first, 0 where it comes from elsewhere.
    """

    output = "pretraining"

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        next_sentence_weight: NonNegativeFloat = 1.0,
        mask_fraction: PositiveShare = 0.15,
        as_mask: UnitFloat = 0.8,
        as_random: UnitFloat = 0.1,
        whole_words: bool = True,
        candidates: PositiveInt = 5,
    ) -> None:
        """Wrap a network that gives logits (N, vocabulary) of the chosen tokens and (B, 2) of the pairs.

        Args:
            model: The network.
            spec: What the data know.
            next_sentence_weight: What the loss of the next-sentence prediction counts beside that of the tokens.
            mask_fraction: Share of the tokens of an example that is hidden, special ones not counted.
            as_mask: Share of the hidden tokens that become the mask token.
            as_random: Share of them that become any other token; the rest stays as it is.
            whole_words: Hide words, not single tokens of them.
            candidates: How many tokens `ptft predict` tells for a mask.

        Raises:
            ConfigError: The shares make more than a whole, or the data are laid out for another task.
            DataError: The tokenizer has no mask token.
        """
        super().__init__(
            model,
            spec,
            mask_fraction=mask_fraction,
            as_mask=as_mask,
            as_random=as_random,
            whole_words=whole_words,
            candidates=candidates,
        )
        self.next_sentence_weight = next_sentence_weight

    def check_data(self, spec: DataSpec) -> None:
        """See that the data fit.

        Raises:
            ConfigError: They are laid out for another task.
        """
        check_layout(spec, "text/pretraining", "pairs")

    # --- Training -----------------------------------------------------------------------------------------------------

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        """Hide tokens in `input_ids` (B, T) and add `labels` (B, T), which tell what they were.

        Raises:
            DataError: The data are no pairs of segments.
        """
        if "next_sentence" not in batch:
            raise DataError(
                "task=text/pretraining asks whether a segment follows another, but these data give no pairs of "
                "segments; choose data=text/corpus data.layout=pairs, or task=text/masked"
            )
        return super().transform(batch, draws)

    def forward(self, batch: Batch) -> Outputs:
        """Return `token_loss` (N,) of the hidden tokens and `pair_logits` (B, 2), where class 0 means "it follows".

        Without gradients also `prediction` (N,), the most probable token of each hidden one.
        """
        return super().forward(batch)

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of hidden tokens, and of pairs."""
        return super().count(batch, phase) | {"next_sentence": len(batch["next_sentence"])}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return both terms: negative log likelihoods, summed over hidden tokens and over pairs."""
        sums = super().loss(outputs, batch, phase).sums | {"next_sentence": _pair_losses(outputs, batch).sum()}
        return StepOutput(sums, coefficients={"next_sentence": self.next_sentence_weight})

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return the number of hidden tokens, and of pairs."""
        return super().soft_count(batch) | {"distillation_pairs": len(batch["next_sentence"])}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return both divergences from the teacher's probabilities: summed over hidden tokens, and over pairs."""
        sums = super().soft_loss(outputs, teacher, batch, temperature).sums
        pairs = distillation_sum(outputs["pair_logits"], teacher["pair_logits"], temperature)
        return StepOutput(
            sums | {"distillation_pairs": pairs}, coefficients={"distillation_pairs": self.next_sentence_weight}
        )

    # --- Evaluation ---------------------------------------------------------------------------------------------------

    def make_metrics(self) -> LanguageMetrics:
        """Return fresh metrics of both terms."""
        return LanguageMetrics(self.next_sentence_weight)

    def evaluation_columns(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the sums of each example over its hidden tokens, and of its pair."""
        loss = _pair_losses(outputs, batch)
        hit = outputs["pair_logits"].argmax(dim=1) == 1 - batch["next_sentence"]
        pairs = {"pairs": torch.ones_like(loss), "pair_loss": loss, "pair_hits": hit}
        return super().evaluation_columns(outputs, batch) | {
            name: value.double().cpu() for name, value in pairs.items()
        }

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: LanguageMetrics) -> Records:
        """Return index, mean loss and number of the hidden tokens, and whether the second segment follows.

        `follows` is the truth, 0 or 1, and `score` the probability given to 1.
        """
        score = at_least_float32(outputs["pair_logits"]).softmax(dim=1)[:, 0]
        kept = super().evaluation_step(outputs, batch, metrics)
        return kept | {"follows": batch["next_sentence"].cpu(), "score": score.cpu()}

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from tokens to logits (B, T, vocabulary) of all, and (B, 2) of the pairs."""
        return network_export(self.model, self.spec, ("logits", "pair_logits"))

    def predict(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return each row's `text` with its masks filled, the candidates of its `masks`, and of pairs also `follows`.

        `follows` is the probability that `text_pair` follows `text`.
        """
        answers, (pair_logits,) = self.fill(batch)
        follows = at_least_float32(pair_logits).softmax(dim=1)[:, 0].tolist()
        for answer, row, probability in zip(answers, rows, follows, strict=True):
            if row.get("text_pair"):
                answer["follows"] = probability
        return answers


def _pair_losses(outputs: Outputs, batch: Batch) -> Tensor:
    """Return the negative log likelihood of each pair, (B,)."""
    logits = at_least_float32(outputs["pair_logits"])
    return F.cross_entropy(logits, 1 - batch["next_sentence"].long(), reduction="none")
