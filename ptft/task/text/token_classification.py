"""Token classification: a tag for each word, such as the entities of a text or its parts of speech.

The first token of a word carries its tag, other tokens none. Evaluation and prediction are about words: windows of long
texts are joined, and an entity counts only if its first word, its last one and its type are right.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import ConfigError, DataError
from ptft.loss.cross_entropy import cross_entropy_sum
from ptft.loss.distillation import distillation_sum
from ptft.metric.entities import RECORDS, EntityMetrics
from ptft.metric.tag_set import OUTSIDE, TagSet
from ptft.task.class_weights import class_weights as weights_of
from ptft.task.exporting import network_export
from ptft.task.task import ExportSpec, Media, MetricSpec, Outputs, Records, StepOutput, Task
from ptft.task.text.tagged_words import SpokenWords, WindowJoiner, choose_tags, fill_in
from ptft.task.text.tokens import window_logits
from ptft.types import DropRate

_SHOWN = 8
"""Texts shown at each evaluation."""


class TokenClassification(Task):
    """A tag for each word.

    Batches hold the network's inputs and `labels` (B, T), -100 where no tag counts; `word` (B, T), the number of the
    word that a token speaks for, -1 for none; `windows` (B,), how many windows the example has. For evaluation also, as
    lists, `tags`, the tag of each word of the whole example, `text`, and `spans`, the characters of each word in it;
    for prediction the last two.
    """

    headline = MetricSpec("f1", "max", scale=100.0)
    output = "tags"
    distils = True
    weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        label_smoothing: DropRate = 0.0,
        class_weights: Literal["balanced"] | dict[str, float] | None = None,
        token_dropout: DropRate = 0.0,
        decoding: Literal["valid", "argmax"] = "valid",
    ) -> None:
        """Wrap a network that maps tokens to logits (B, T, tags).

        Args:
            model: The network.
            spec: What the data know: their tags.
            label_smoothing: Share of the target spread evenly over all tags.
            class_weights: What a word of each tag counts in the loss, by name, 1 for those that are not named;
                balanced: such that all tags count the same.
            token_dropout: Share of the tokens that are shown as unknown in training, so that what stands around a name
                tells it too, and not the name alone.
            decoding: Which tags are predicted. valid: the likeliest row of tags that IOB2 allows, in which no entity
                goes on that has not begun; argmax: of each word the likeliest tag.

        Raises:
            DataError: The data have no tags.
            ConfigError: A tag is named in `class_weights` that the data do not have, or there is no unknown token for
                `token_dropout`.
        """
        super().__init__()
        if spec.target != "tags" or not spec.num_classes:
            raise DataError(
                "task=text/token_classification needs words with tags, and these data have none; give data=text/conll"
            )
        self.model = model
        self.spec = spec
        self.tags = TagSet(spec.classes)
        self.label_smoothing = label_smoothing
        self.token_dropout = token_dropout
        if token_dropout and "unk" not in spec.special_tokens:
            raise ConfigError(
                f"task.token_dropout={token_dropout:g} shows tokens as unknown, and this tokenizer has no token for "
                "that; leave it out"
            )
        self.decoding = decoding
        if self.tags.plain:
            self.headline = MetricSpec("token_accuracy", "max", scale=100.0)
        self.register_buffer("weights", weights_of(class_weights, spec), persistent=False)
        self._joiner = WindowJoiner()
        self._shown: list[str] = []

    # ---- Training ---------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Outputs:
        """Return {"logits": (B, T, tags)}."""
        if self.training and self.token_dropout:
            batch = {**batch, "input_ids": self._with_unknown(batch["input_ids"])}
        return {"logits": self.model(*(batch[name] for name in self.spec.inputs))}

    def _with_unknown(self, input_ids: Tensor) -> Tensor:
        """Return tokens (B, T) of which some, but never special ones, are shown as unknown."""
        special = torch.tensor(list(self.spec.special_tokens.values()), device=input_ids.device)
        hidden = (torch.rand(input_ids.shape, device=input_ids.device) < self.token_dropout) & ~torch.isin(
            input_ids, special
        )
        return input_ids.masked_fill(hidden, self.spec.special_tokens["unk"])

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of tokens with a tag, or the sum of their weights."""
        label = batch["labels"][batch["labels"] >= 0]
        return {"tags": len(label) if self.weights is None else self.weights[label].sum()}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the cross entropy summed over the tokens with a tag."""
        counts = batch["labels"] >= 0
        logits, label = outputs["logits"][counts], batch["labels"][counts]  # (N, C), (N,)
        return StepOutput({"tags": cross_entropy_sum(logits, label, self.label_smoothing, self.weights)})

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return the number of tokens with a tag, whatever they weigh."""
        return {"distillation": (batch["labels"] >= 0).sum()}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return the divergence from the teacher's probabilities, summed over the tokens with a tag."""
        counts = batch["labels"] >= 0
        logits, known = outputs["logits"][counts], teacher["logits"][counts]  # (N, C) each
        return StepOutput({"distillation": distillation_sum(logits, known, temperature)})

    # ---- Evaluation -------------------------------------------------------------------------------------------------

    def make_metrics(self) -> EntityMetrics:
        """Return fresh metrics over the tags of the data."""
        self._joiner, self._shown = WindowJoiner(), []
        return EntityMetrics(self.tags)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: EntityMetrics) -> Records:
        """Return a row for each example whose windows were all seen, with the columns `RECORDS`."""
        rows = []
        for part, predicted in self._tagged(self._joiner, outputs, batch):
            gold = batch["tags"][part.row]
            right = torch.tensor([gold[word] for word in part.words.tolist()], dtype=torch.int64)
            loss = -float(part.scores.gather(1, right[:, None]).sum())
            rows.append((int(batch["index"][part.row]), *metrics.update(gold, predicted, loss, len(right))))
            if len(self._shown) < _SHOWN:
                self._shown.append(self._marked(batch["text"][part.row], batch["spans"][part.row], gold, predicted))
        columns: Sequence[Sequence[float]] = list(zip(*rows, strict=True)) or [()] * len(RECORDS)
        kinds = (torch.int64,) * (len(RECORDS) - 1) + (torch.float64,)
        return {
            name: torch.tensor(values, dtype=kind) for name, values, kind in zip(RECORDS, columns, kinds, strict=True)
        }

    def _tagged(self, joiner: WindowJoiner, outputs: Outputs, batch: Batch) -> list[tuple[SpokenWords, list[int]]]:
        """Return the examples that a batch completes, each with the tags of all its words."""
        done = joiner.update(outputs["logits"], batch)
        chosen = choose_tags([part.scores for part in done], self.tags, valid=self.decoding == "valid")
        outside = self.spec.classes.index(OUTSIDE) if OUTSIDE in self.spec.classes else 0
        sizes = [len(batch["spans"][part.row]) for part in done]
        return [
            (part, fill_in(part.words.tolist(), tags, size, self.tags, outside))
            for part, tags, size in zip(done, chosen, sizes, strict=True)
        ]

    def _marked(
        self, text: str, spans: Sequence[tuple[int, int]], gold: Sequence[int], predicted: Sequence[int]
    ) -> str:
        """Return a text with the predicted entities in brackets, and below it with the right ones where they differ."""
        lines = [_bracketed(text, spans, tags, self.tags) for tags in (predicted, gold)]
        return lines[0] if lines[0] == lines[1] else f"{lines[0]}\n    right: {lines[1]}"

    def samples(self, generator: torch.Generator) -> Media | None:
        """Return the first texts of the evaluation with the entities found in them, and the right ones."""
        return {"entities": "\n".join(self._shown)} if self._shown else None

    # ---- Prediction -------------------------------------------------------------------------------------------------

    def predict(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what `decode` tells of each row; a long text's windows go through the network a few at a time."""
        return self.decode({"logits": window_logits(self.model, self.spec, batch)}, batch, rows)

    def decode(self, outputs: Outputs, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the `entities` of each row: type, text, first character and the one behind the last, probability.

        Characters are those of the row as the user gave it. The probability is the product of those of its words' tags.
        Of plain tags each word is told so, as `tags`.
        """
        told: list[dict[str, Any]] = [{"tags" if self.tags.plain else "entities": []} for _ in rows]
        for part, tags in self._tagged(WindowJoiner(), outputs, batch):
            text, spans = batch["text"][part.row], batch["spans"][part.row]
            spoken = {word: place for place, word in enumerate(part.words.tolist())}
            found = []
            for entity in self.tags.entities(tags):
                words = [word for word in range(entity.start, entity.end) if word in spoken]
                start, end = spans[entity.start][0], spans[entity.end - 1][1]
                score = sum(float(part.scores[spoken[word], tags[word]]) for word in words)
                found.append(
                    {
                        "type": self.tags.types[entity.type],
                        "text": text[start:end],
                        "start": start,
                        "end": end,
                        "probability": math.exp(score),
                    }
                )
            told[int(batch["index"][part.row])] = {"tags" if self.tags.plain else "entities": found}
        return told

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from tokens to logits."""
        return network_export(self.model, self.spec)

    def label_names(self) -> tuple[str, ...]:
        """Return the names of the tags."""
        return self.spec.classes


def _bracketed(text: str, spans: Sequence[tuple[int, int]], tags: Sequence[int], known: TagSet) -> str:
    """Return a text with its entities in brackets, as `[Anna PER] came`."""
    pieces, done = [], 0
    for entity in known.entities(tags):
        start, end = spans[entity.start][0], spans[entity.end - 1][1]
        pieces += [text[done:start], f"[{text[start:end]} {known.types[entity.type]}]"]
        done = end
    return "".join([*pieces, text[done:]]).replace("\n", " ")
