"""Questions whose answers stand in a text: divided by article, cut into windows, with their texts for evaluation.

A subclass reads the questions. Contexts stay as they were read, whatever `normalisation` says, as the places of answers
count their characters; the tokenizer normalises for itself.
"""

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ptft.data.data_module import Batch, BatchPlan, DataSpec
from ptft.data.split_groups import group_names
from ptft.data.text.answer_windows import encode_windows
from ptft.data.text.batches import EvaluationTexts
from ptft.data.text.encoded import Encoded
from ptft.data.text.examples import TextExamples
from ptft.data.text.labels import Labels
from ptft.data.text.rows import Rows, TextRows, texts_of
from ptft.data.text.tokenizer import TextTokenizer
from ptft.errors import ConfigError, DataError, RowError
from ptft.types import NonNegativeInt, PositiveInt

_SHOWN = 3
"""Questions that a message shows."""


@dataclass(eq=False, repr=False, kw_only=True)
class AnswerTexts(TextExamples):
    """Questions, each with a context, and the answers that stand in it or none; further settings at `TextExamples`.

    Rows hold the question as the text, the context as its pair and as the extra `context`, and the answers as the
    label: texts with the places of their first characters, none where the context does not tell. Their columns hold
    `title` and `paragraph`. Batches are told at `Windows`; those of evaluation also hold, as lists of one value a row,
    `question`, `context` and `answers`, the texts of the right answers.

    Attributes:
        target: span: answers are learned; tokens: the texts themselves, cut to `max_length`.
        max_length: Most tokens of a window, those of the question and the special ones counted.
        stride: Tokens that neighbouring windows of a long context share: an answer of so many lies whole in one.
    """

    target: Literal["span", "tokens"] = "span"  # type: ignore[assignment]  # the base knows other kinds of labels
    max_length: PositiveInt = 384
    stride: NonNegativeInt = 128

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: A setting is out of range, or windows would share more than they hold.
        """
        super().__post_init__()
        if self.target not in ("span", "tokens"):
            raise ConfigError(f"data.target={self.target}: questions have answers, or none are learned: span or tokens")
        if self.stride >= self.max_length:
            raise ConfigError(
                f"data.stride={self.stride} must be smaller than data.max_length={self.max_length}: windows of the "
                "context share so many tokens, and also hold the question"
            )
        self._given: DataSpec | None = None
        self._lost: Rows = np.zeros(0, dtype=np.int64)
        self._by_paragraph = False

    # ---- What questions are -----------------------------------------------------------------------------------------

    def check(self, rows: TextRows) -> TextRows:
        """Return the rows: their answers were checked where they were read."""
        return rows

    def drops_torn(self) -> bool:
        """Return False: a question asked twice has two right answers; without a target the division stays the same."""
        return False

    def number(self, rows: TextRows, known: Sequence[str] | None) -> Labels:
        """Return no classes; questions with and without an answer are divided alike."""
        assert rows.labels is not None
        return Labels((), None, np.array([int(bool(answers)) for answers in rows.labels], dtype=np.int64))

    def encode(self, tokenizer: TextTokenizer, rows: TextRows, labels: Labels) -> Encoded:
        """Return the windows of the questions, or with the target `tokens` one cut text for each."""
        if self.target == "tokens":
            return super().encode(tokenizer, rows, labels)
        try:
            windows = encode_windows(
                tokenizer,
                rows.texts,
                rows.extra["context"],
                rows.labels,
                max_length=self.max_length,
                stride=self.stride,
            )
        except RowError as error:
            raise DataError(f"{rows.where(error.row)}: {error}") from None
        self._lost = windows.lost
        return windows.encoded

    def _grouped(self, rows: TextRows) -> tuple[str, ...]:
        """Return the group of each question: as `split.group` says, else its article, of few articles its paragraph."""
        group = self._division.group
        self._by_paragraph = group is None and len(set(rows.columns["title"])) < 3  # three splits need as many
        places = [rows.place(row) for row in range(len(rows))]
        return group_names(group or ("paragraph" if self._by_paragraph else "title"), places, rows.columns)

    def _described(self, labels: Labels, train: Rows, tokenizer: TextTokenizer) -> DataSpec:
        own = super()._described(labels, train, tokenizer)
        if self._given is not None:  # other data are judged as the model was made
            known = bool(self._given.preprocessing.get("unanswerable"))
        else:
            known = bool((labels.strata[train] == 0).any())
        return dataclasses.replace(own, preprocessing={**own.preprocessing, "unanswerable": known})

    # ---- Setting up -------------------------------------------------------------------------------------------------

    def setup(self, spec: DataSpec | None = None) -> None:
        """Read, divide and encode as `TextExamples` does; a question whose answer no window holds is not learned from.

        Raises:
            DataError: See there; or a question leaves too little room for its context.
        """
        self._given = spec
        super().setup(spec)
        whole = self._whole
        self._told += self._shared(whole.rows, whole.splits)
        if self._by_paragraph and whole.rows.splits is None:
            self._told.append(
                "there are fewer than three titles, so paragraphs are divided; they may tell of each other"
            )
        if len(lost := np.intersect1d(self._lost, whole.splits["train"])):
            rest = np.setdiff1d(whole.splits["train"], lost)
            self._set = dataclasses.replace(whole, splits={**whole.splits, "train": rest})
        if len(self._lost):
            shown = "; ".join(whole.rows.where(row) for row in self._lost[:_SHOWN].tolist())
            self._told.append(
                f"{len(self._lost):,} answers are longer than data.stride={self.stride} tokens and lie in no window of "
                f"data.max_length={self.max_length}: {shown}. {len(lost):,} of them are left out of the training; a "
                "larger data.stride keeps them"
            )

    def _shared(self, rows: TextRows, splits: Mapping[str, Rows]) -> list[str]:
        """Return a message for each two splits that ask about the same contexts."""
        contexts = {name: {rows.extra["context"][row] for row in own.tolist()} for name, own in splits.items()}
        names, messages = list(contexts), []
        for number, first in enumerate(names):
            for second in names[number + 1 :]:
                if both := len(contexts[first] & contexts[second]):
                    messages.append(
                        f"{both:,} contexts of {second} stand in {first}, too; metrics on {second} are too good"
                    )
        if messages and self.fail_on_overlap:
            raise DataError(f"{self.title}: {'; '.join(messages)}. data.fail_on_overlap=false goes on with a warning")
        return messages

    def describe(self) -> str:
        """Return one line on the data for the console: sizes of the splits, windows, share without an answer."""
        whole, spec = self._whole, self.spec
        sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in whole.splits.items())
        kept = "" if self.label_fraction == 1 else f" (label_fraction={self.label_fraction:g})"
        windows = f"{len(whole.encoded):,} windows of {self.max_length} tokens at most"
        without = 100 * float((whole.labels.strata == 0).mean())
        return (
            f"{self.title}: {sizes} questions{kept}; {windows}, vocabulary of {spec.vocab_size:,}; {without:.1f}% "
            "without an answer"
        )

    # ---- What others ask for ----------------------------------------------------------------------------------------

    def evaluation_loaders(self, plan: BatchPlan) -> "Mapping[str, AnswerBatches]":
        """Return a loader for `train`, `val` and `test`: all windows of each question once, with their texts."""
        return {name: self._loader(rows, plan) for name, rows in self._whole.splits.items()}

    def every_example(self, plan: BatchPlan) -> "AnswerBatches":
        """Return a loader for all questions but those left out, whatever `split` and `label_fraction` say."""
        return self._loader(np.arange(len(self._whole.rows)), plan)

    def _loader(self, rows: Rows, plan: BatchPlan) -> "AnswerBatches":
        whole = self._whole
        return AnswerBatches(whole.encoded, rows, plan, self._workers(plan), whole.rows)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that `batch_of` reads of a row."""
        return ("question", "context")

    def batch_of(self, rows: Sequence[Mapping[str, Any]], device: torch.device) -> Batch:
        """Return new questions as a batch of all their windows, with `question` and `context`; see `AnswerTexts`.

        Raises:
            RowError: A row has no question or context, or the question leaves no room for the context.
        """
        assert self._coder is not None, "restore() or setup() comes first"
        questions, contexts = self.column(rows, 0), texts_of(rows, self.fields[1], "text_pair")
        for row, question in enumerate(questions):
            if not question:
                raise RowError("the field `question` is empty", row)
        windows = encode_windows(
            self._coder, questions, contexts, max_length=self.spec.shape[0], stride=self.stride
        ).encoded
        batch = windows.gather(np.arange(len(windows)))
        texts = {"question": questions, "context": contexts}
        own = {name: [values[row] for row in windows.index.tolist()] for name, values in texts.items()}
        return {name: value.to(device) for name, value in batch.items()} | own


class AnswerBatches(EvaluationTexts):
    """Batches of windows, of about the same length, with the texts of their questions."""

    def __init__(self, encoded: Encoded, rows: Rows, plan: BatchPlan, num_workers: int, texts: TextRows) -> None:
        """Prepare batches of the questions `rows`, (N,) int64, of `texts`."""
        super().__init__(encoded, rows, plan, num_workers)
        self._texts = texts

    def __iter__(self) -> Generator[Batch, None, None]:
        """Go through the questions once more."""
        texts = self._texts
        assert texts.labels is not None
        for batch in super().__iter__():
            index = batch["index"].tolist()
            batch["question"] = [texts.texts[row] for row in index]
            batch["context"] = [texts.extra["context"][row] for row in index]
            batch["answers"] = [tuple(text for text, _ in texts.labels[row]) for row in index]
            yield batch
