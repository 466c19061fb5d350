"""Extractive question answering: where in a text does the answer begin and end, if it stands there (arXiv 1810.04805).

A text longer than the model reads comes as windows that overlap. In training a window without the answer points at the
first token, which stands for no answer; in evaluation the windows of a question are joined (see `metric/answers.py`).
Only tokens of the text, and that first one, take part: neither padding nor the question changes a loss.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import DataError
from ptft.loss.cast import at_least_float32
from ptft.loss.distillation import distillation_sum
from ptft.metric.answers import AnswerMetrics, WindowAnswer, log_add, probability
from ptft.metric.squad import Unit
from ptft.task.exporting import network_export
from ptft.task.task import ExportSpec, Media, MetricSpec, Outputs, Records, StepOutput, Task
from ptft.task.text.spans import best_spans, masked_logits, may_be_chosen
from ptft.task.text.tokens import window_logits
from ptft.types import PositiveInt

_SHOWN = 8
"""Questions shown at each evaluation."""


class QuestionAnswering(Task):
    """Start and end of an answer in the text that a question is asked about.

    Batches hold the network's inputs, `start` and `end` (B,), `windows` (B,), how many windows the example has, and
    `char_start` and `char_end` (B, T), the characters of the text behind each token, equal for all other tokens. For
    evaluation also, as lists, `question` and `context`, the texts, and `answers`, the right ones of each example.
    """

    headline = MetricSpec("f1", "max", scale=100.0)
    output = "span"
    distils = True

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        max_answer_tokens: PositiveInt = 30,
        null_answers: bool | Literal["auto"] = "auto",
        null_threshold: float | Literal["auto"] = "auto",
        n_best: PositiveInt = 1,
        normalisation: Unit = "auto",
    ) -> None:
        """Wrap a network that maps a question and a text to logits (B, T, 2).

        Args:
            model: The network.
            spec: What the data know.
            max_answer_tokens: Most tokens of an answer that is predicted.
            null_answers: Whether there may be no answer; auto: if the training data have such questions.
            null_threshold: By how much no answer must score above the best span to be predicted; auto: what gives the
                best F1 on validation, chosen once at the end of a run, and 0 until then.
            n_best: How many answers `predict` tells of each question.
            normalisation: What answers are compared by: words, as SQuAD does, characters, or by the text which of them.

        Raises:
            DataError: The data have no answers.
        """
        super().__init__()
        if spec.target != "span":
            raise DataError(
                "task=text/question_answering needs questions with answers that stand in a text, and these data have "
                "none; give data=text/squad"
            )
        self.model = model
        self.spec = spec
        self.max_answer_tokens = max_answer_tokens
        known = bool(spec.preprocessing.get("unanswerable"))
        self.null_answers = known if null_answers == "auto" else null_answers
        self.null_threshold = null_threshold
        self.n_best = n_best
        self.normalisation: Unit = normalisation
        self.decides = self.null_answers and null_threshold == "auto"
        self._shown: list[str] = []

    # ---- Training ---------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Outputs:
        """Return {"logits": (B, T, 2)}: of each token as the start, and as the end of the answer."""
        return {"logits": self.model(*(batch[name] for name in self.spec.inputs))}

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of windows."""
        return {"span": len(batch["index"])}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the mean of the cross entropies of start and end, summed over the windows."""
        return StepOutput({"span": self._losses(outputs, batch).sum()})

    def _losses(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the loss of each window, (B,)."""
        logits = masked_logits(at_least_float32(outputs["logits"]), _in_text(batch))
        places = torch.stack([batch["start"], batch["end"]], dim=1)  # (B, 2)
        return F.cross_entropy(logits, places, reduction="none").mean(dim=1)

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return the number of windows."""
        return {"distillation": len(batch["index"])}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return the mean divergence from the teacher's probabilities of start and end, summed over the windows."""
        own, known = (values["logits"].transpose(1, 2) for values in (outputs, teacher))  # (B, 2, T)
        allowed = may_be_chosen(_in_text(batch))[:, None]
        return StepOutput({"distillation": distillation_sum(own, known, temperature, allowed) / 2})

    # ---- Evaluation -------------------------------------------------------------------------------------------------

    @property
    def decided_at(self) -> float | None:
        """The threshold that holds now; None: there always is an answer."""
        if not self.null_answers:
            return None
        return self.decision.get("null_threshold", 0.0) if self.null_threshold == "auto" else self.null_threshold

    def fit_decision(self, metrics: AnswerMetrics) -> dict[str, float]:
        """Return the threshold for no answer that gives the best F1 on validation."""
        return {"null_threshold": metrics.best_threshold()}

    def make_metrics(self) -> AnswerMetrics:
        """Return fresh metrics."""
        self._shown = []
        return AnswerMetrics(self.decided_at, self.normalisation)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: AnswerMetrics) -> Records:
        """Return a row for each example whose windows were all seen: see `AnswerMetrics.update`."""
        spans = best_spans(outputs["logits"], _in_text(batch), self.max_answer_tokens)
        losses = self._losses(outputs, batch).double().tolist()
        begins, ends = _characters(batch, spans.start, spans.end)
        windows = [
            WindowAnswer(
                index=index,
                left=left - 1,
                answer=context[begin:end],
                start=begin,
                score=score,
                null_score=null,
                log_total=log_total,
                loss=loss,
            )
            for index, left, context, begin, end, score, null, log_total, loss in zip(
                batch["index"].tolist(),
                batch["windows"].tolist(),
                batch["context"],
                begins[:, 0].tolist(),
                ends[:, 0].tolist(),
                spans.score[:, 0].tolist(),
                spans.null.tolist(),
                spans.log_total.tolist(),
                losses,
                strict=True,
            )
        ]
        records = metrics.update(windows, batch["answers"])
        self._remember(records, batch)
        return records

    def _remember(self, records: Records, batch: Batch) -> None:
        """Keep the first questions and answers of an evaluation, to show them."""
        places = {index: row for row, index in enumerate(batch["index"].tolist())}
        for index, start, end, null in zip(
            *(records[n].tolist() for n in ("index", "start", "end", "null")), strict=True
        ):
            if len(self._shown) == _SHOWN:
                return
            row = places[index]
            answer = "-" if null else batch["context"][row][start:end]
            golds = " | ".join(dict.fromkeys(batch["answers"][row])) or "-"
            self._shown.append(f"{batch['question'][row]}\n    {answer}    (right: {golds})")

    def samples(self, generator: torch.Generator) -> Media | None:
        """Return the first questions of the evaluation with their answers and the right ones; `-`: no answer."""
        return {"answers": "\n".join(self._shown)} if self._shown else None

    # ---- Prediction -------------------------------------------------------------------------------------------------

    def predict(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what `decode` tells of each row; a long text's windows go through the network a few at a time."""
        return self.decode({"logits": window_logits(self.model, self.spec, batch)}, batch, rows)

    def decode(self, outputs: Outputs, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the answer to each question: its text, `start` and `end` in characters of the text, its probability.

        Probabilities are shares of all pairs of a start and an end in the text and, where there may be no answer, of
        that. Without an answer `answer` is empty and start and end are null; `null` and `null_probability` stand there
        only where there may be none, and `n_best` only where more than one answer is asked for.
        """
        spans = best_spans(outputs["logits"], _in_text(batch), self.max_answer_tokens, max(2, self.n_best))
        begins, ends = _characters(batch, spans.start, spans.end)
        windows: list[list[int]] = [[] for _ in rows]
        for window, row in enumerate(batch["index"].tolist()):
            windows[row].append(window)
        told = []
        for own in windows:
            found: dict[tuple[int, int], list[float]] = {}
            for window in own:
                places = zip(begins[window].tolist(), ends[window].tolist(), spans.score[window].tolist(), strict=True)
                for begin, end, score in places:
                    if score > -math.inf:
                        found.setdefault((begin, end), []).append(score)
            null = float(spans.null[own].min())
            log_total = float(spans.log_total[own].logsumexp(0))
            context = batch["context"][own[0]]
            told.append(self._told(context, found, null, log_total))
        return told

    def _told(
        self, context: str, found: Mapping[tuple[int, int], Sequence[float]], null: float, log_total: float
    ) -> dict[str, Any]:
        threshold = self.decided_at
        total = log_total if threshold is None else log_add(log_total, null)
        best = sorted(found, key=lambda place: (-max(found[place]), place))
        answers: list[dict[str, Any]] = [
            {
                "answer": context[begin:end],
                "start": begin,
                "end": end,
                # A span that several windows hold is one answer.
                "probability": sum(probability(score, total) for score in found[begin, end]),
            }
            for begin, end in best[: self.n_best]
        ]
        nothing: dict[str, Any] = {"answer": "", "start": None, "end": None, "probability": probability(null, total)}
        is_null = threshold is not None and (not best or null - max(found[best[0]]) > threshold)
        row = dict(nothing if is_null or not answers else answers[0])
        if threshold is not None:
            row |= {"null": is_null, "null_probability": nothing["probability"]}
        return row | ({"n_best": answers} if self.n_best > 1 else {})

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from tokens to logits (B, T, 2)."""
        return network_export(self.model, self.spec)


def _in_text(batch: Batch) -> Tensor:
    """Return which tokens are of the text, (B, T) bool: neither of the question nor special nor padding."""
    inside: Tensor = batch["char_end"] > batch["char_start"]
    return inside


def _characters(batch: Batch, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first character of each span and the one behind its last, (B, K) each, from its tokens (B, K)."""
    return batch["char_start"].cpu().gather(1, start), batch["char_end"].cpu().gather(1, end)
