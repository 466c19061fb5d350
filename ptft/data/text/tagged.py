"""Texts whose words carry tags: entities, parts of speech. The words are joined to a text, and the text is tokenised.

A subclass reads words and tags. Long texts are cut into windows that overlap, so that no word is lost.
"""

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ptft.data.data_module import Batch, BatchPlan, DataSpec
from ptft.data.listing import listed, quoted
from ptft.data.split_groups import number_groups
from ptft.data.text.batches import EvaluationTexts
from ptft.data.text.clean import normalised
from ptft.data.text.encoded import Encoded
from ptft.data.text.examples import TextExamples
from ptft.data.text.labels import Labels
from ptft.data.text.ordered_split import divide_in_order
from ptft.data.text.rows import Rows, TextRows, texts_of
from ptft.data.text.tag_schemes import split_tag, tag_names
from ptft.data.text.tagged_windows import encode_tagged
from ptft.data.text.tokenizer import TextTokenizer
from ptft.data.text.word_units import Span, clusters, cut_words, joined, mostly_characters, spread
from ptft.errors import DataError
from ptft.types import NonNegativeInt

_LOOKED_AT = 2_000
"""Texts that tell what a word is."""


@dataclass(frozen=True)
class TagLabels(Labels):
    """The tags of texts as numbers; `strata` tells texts apart by their rarest type of entity.

    Attributes:
        tags: The tag of each word of each text.
    """

    tags: Sequence[tuple[int, ...]] = ()

    def words_of(self, rows: Rows) -> tuple[int, ...]:
        """Return how many words of some rows carry each tag."""
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for row in rows.tolist():
            np.add.at(counts, np.array(self.tags[row], dtype=np.int64), 1)
        return tuple(counts.tolist())


@dataclass(eq=False, repr=False, kw_only=True)
class TaggedTexts(TextExamples):
    """Texts of tagged words; further settings as told at `TextExamples`.

    `read` returns rows with the words of each as the extra `words`, their tags (in IOB2, or plain) as the label, and
    any text: the words make it. Batches hold what `TaggedWindows` tells; those of evaluation also, as lists, `tags`,
    `text` and `spans`, those of `batch_of` the last two.

    Attributes:
        target: tags: they are learned; tokens: the texts themselves, cut to `max_length`.
        words: What carries a tag: words, joined by spaces, or single characters, joined by nothing; auto: characters
            where most letters are Chinese or Japanese.
        overlap: Tokens that neighbouring windows of a long text share, at least.
        order: How `split` divides: at random, or in the order of the texts, the last ones for the test.
    """

    target: Literal["tags", "tokens"] = "tags"  # type: ignore[assignment]  # the base knows other kinds of labels
    words: Literal["auto", "words", "characters"] = "auto"
    overlap: NonNegativeInt = 16
    order: Literal["random", "document"] = "random"

    def __post_init__(self) -> None:
        """Check the settings; see `TextExamples`."""
        super().__post_init__()
        self._given: DataSpec | None = None
        self._unit = ""

    # ---- What tagged texts are --------------------------------------------------------------------------------------

    def setup(self, spec: DataSpec | None = None) -> None:
        """Read, divide and encode as `TextExamples` does; what a word is stays as the model of `spec` knows it."""
        self._given = spec
        super().setup(spec)
        self._told += self._unmeasured()

    def check(self, rows: TextRows) -> TextRows:
        """Return the rows with their words joined to a text, whose characters `spans` tells."""
        self._unit = self._unit_of(rows.extra["words"])
        tagged = list(zip(rows.extra["words"], rows.labels or (), strict=True))
        if self._unit == "characters":
            tagged = [spread(row, tags) for row, tags in tagged]
        separator = "" if self._unit == "characters" else " "
        made = [joined(row, separator, self.normalisation) for row, _ in tagged]
        texts, spans = [text for text, _ in made], [own for _, own in made]
        labels = [tags for _, tags in tagged]
        notes = (*rows.notes, *_contradictions(rows, texts, labels))
        return dataclasses.replace(rows, texts=texts, labels=labels, extra={"spans": spans}, notes=notes)

    def _unit_of(self, rows: Sequence[Sequence[str]]) -> str:
        if self.words != "auto":
            return self.words
        if self._given is not None:
            return str(self._given.preprocessing["words"])
        some = [word for row in rows[:_LOOKED_AT] for word in row]
        return "characters" if mostly_characters(some) else "words"

    def drops_torn(self) -> bool:
        """Return False: a text with other tags the second time is one that a person tagged in two ways."""
        return False

    def number(self, rows: TextRows, known: Sequence[str] | None) -> Labels:
        """Return the tags as numbers.

        Raises:
            DataError: No word is tagged as an entity, or the model does not know a tag.
        """
        assert rows.labels is not None
        classes = tuple(known) if known is not None else tag_names(rows.labels)
        if len(classes) < 2:
            raise DataError(
                f"{self.title}: all words carry the tag {quoted(classes[0])}; give data with several, or train without "
                "tags: data.target=tokens"
            )
        places = {name: number for number, name in enumerate(classes)}
        for row, tags in enumerate(rows.labels):
            if unknown := next((tag for tag in tags if tag not in places), None):
                raise DataError(
                    f"{rows.where(row)}: the model does not know the tag {quoted(unknown)}; it knows {listed(places)}. "
                    "Use data with these tags, or train a new model with init_from="
                )
        numbers = [tuple(places[tag] for tag in tags) for tags in rows.labels]
        strata = _rarest(numbers, len(classes))
        if self.target == "tokens":
            return Labels((), None, strata)
        return TagLabels(classes, None, strata, numbers)

    def divide(
        self, rows: TextRows, labels: Labels, same: Sequence[Rows], groups: Sequence[str] | None, *, made: bool
    ) -> dict[str, Rows]:
        """Return the rows of each split, at random or in order as `order` says."""
        if self.order == "random":
            return super().divide(rows, labels, same, groups, made=made)
        given = None
        if rows.splits is not None:
            parts = np.array(rows.splits)
            given = {name: np.flatnonzero(parts == name) for name in ("train", "val", "test") if name in rows.splits}
        # Copies cannot stay together where the order decides; those on both sides are told.
        return divide_in_order(len(rows), self._division, given, number_groups(groups, (), len(rows)))

    def encode(self, tokenizer: TextTokenizer, rows: TextRows, labels: Labels) -> Encoded:
        """Return the windows of the texts, or with the target `tokens` each text, cut."""
        if not isinstance(labels, TagLabels):
            return super().encode(tokenizer, rows, labels)
        windows = encode_tagged(
            tokenizer,
            rows.texts,
            rows.extra["spans"],
            labels.tags,
            [split_tag(name)[0] == "B" for name in labels.classes],
            max_length=self.max_length,
            overlap=self.overlap,
        )
        self._unspoken = windows.num_unspoken
        return windows.encoded

    def _described(self, labels: Labels, train: Rows, tokenizer: TextTokenizer) -> DataSpec:
        own = super()._described(labels, train, tokenizer)
        counts = labels.words_of(train) if isinstance(labels, TagLabels) else ()
        return dataclasses.replace(own, class_counts=counts)

    def _preprocessing(self) -> dict[str, Any]:
        return {**super()._preprocessing(), "words": self._unit}

    # ---- What others ask for ----------------------------------------------------------------------------------------

    def describe(self) -> str:
        """Return one line on the data for the console: sizes of the splits, windows, entities of each type."""
        whole, spec = self._whole, self.spec
        sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in whole.splits.items())
        kept = "" if self.label_fraction == 1 else f" (label_fraction={self.label_fraction:g})"
        windows = f", {len(whole.encoded):,} windows" if len(whole.encoded) > len(whole.rows) else ""
        counted = "no tags"
        if isinstance(whole.labels, TagLabels):
            counts = dict(zip(spec.classes, whole.labels.words_of(np.arange(len(whole.rows))), strict=True))
            begins = {name.partition("-")[2]: count for name, count in counts.items() if split_tag(name)[0] == "B"}
            shown = [f"{name} {count:,}" for name, count in (begins or counts).items()]
            counted = f"{'entities' if begins else 'tags'}: {listed_plainly(shown)}"
        return (
            f"{self.title}: {sizes}{kept} texts of {self._unit}; {self.max_length} tokens at most{windows}, vocabulary "
            f"of {spec.vocab_size:,}; {counted}"
        )

    def _unmeasured(self) -> list[str]:
        """Return what to know of entities that cannot be found, or of which a split has none."""
        labels = self._whole.labels
        if not isinstance(labels, TagLabels):
            return []
        told = []
        if self._unspoken:
            told.append(
                f"{self._unspoken:,} entities begin at a word that is no token of its own: they cannot be found whole, "
                "and count as missed"
            )
        for name, rows in self._whole.splits.items():
            counts = zip(labels.classes, labels.words_of(rows), strict=True)
            if lacking := [tag for tag, count in counts if not count and split_tag(tag)[0] in ("B", "")]:
                what = "the model cannot learn it" if name == "train" else "nothing is measured there"
                told.append(f"{name} holds no word with the tag {listed(lacking)}: {what}")
        return told

    def evaluation_loaders(self, plan: BatchPlan) -> Mapping[str, EvaluationTexts]:
        """Return a loader for `train`, `val` and `test`: all windows of each text once, with its tags."""
        return {name: self._loader(rows, plan) for name, rows in self._whole.splits.items()}

    def every_example(self, plan: BatchPlan) -> EvaluationTexts:
        """Return a loader for all texts but those left out, whatever `split` and `label_fraction` say."""
        return self._loader(np.arange(len(self._whole.rows)), plan)

    def _loader(self, rows: Rows, plan: BatchPlan) -> EvaluationTexts:
        whole = self._whole
        if not isinstance(whole.labels, TagLabels):
            return EvaluationTexts(whole.encoded, rows, plan, self._workers(plan))
        return TaggedBatches(whole.encoded, rows, plan, self._workers(plan), whole.rows, whole.labels)

    def batch_of(self, rows: Sequence[Mapping[str, Any]], device: torch.device) -> Batch:
        """Return new texts as a batch of all their windows, with `text` and `spans`, the characters of their words.

        Raises:
            RowError: A row has no text, or something that is none.
        """
        assert self._coder is not None, "restore() or setup() comes first"
        texts = texts_of(rows, self.fields[0], "text")
        unit = str(self.spec.preprocessing["words"])
        separator, cut = ("", clusters) if unit == "characters" else (" ", cut_words)
        kept: list[list[Span]] = []
        made = []
        for text in texts:
            spans = [(start, end) for start, end in cut(text) if normalised(text[start:end], self.normalisation)]
            kept.append(spans)
            made.append(joined([text[start:end] for start, end in spans], separator, self.normalisation))
        windows = encode_tagged(
            self._coder,
            [text for text, _ in made],
            [own for _, own in made],
            max_length=self.spec.shape[0],
            overlap=self.overlap,
        ).encoded
        batch = {name: value.to(device) for name, value in windows.gather(np.arange(len(windows))).items()}
        index = windows.index.tolist()
        return {**batch, "text": [texts[row] for row in index], "spans": [kept[row] for row in index]}


class TaggedBatches(EvaluationTexts):
    """Batches of windows of about the same length, with the tags and the words of their texts."""

    def __init__(
        self, encoded: Encoded, rows: Rows, plan: BatchPlan, num_workers: int, texts: TextRows, labels: TagLabels
    ) -> None:
        """Prepare batches of the examples `rows`, (N,) int64, of `texts`."""
        super().__init__(encoded, rows, plan, num_workers)
        self._texts = texts
        self._labels = labels

    def __iter__(self) -> Generator[Batch, None, None]:
        """Go through the examples once more."""
        for batch in super().__iter__():
            index = batch["index"].tolist()
            batch["tags"] = [self._labels.tags[row] for row in index]
            batch["text"] = [self._texts.texts[row] for row in index]
            batch["spans"] = [self._texts.extra["spans"][row] for row in index]
            yield batch


def listed_plainly(shown: Sequence[str], most: int = 8) -> str:
    """Return some facts in a row, the first ones where they are many."""
    return ", ".join(shown[:most]) + (f" and {len(shown) - most:,} more" if len(shown) > most else "")


def _rarest(rows: Sequence[tuple[int, ...]], num_classes: int) -> Rows:
    """Return for each text the rarest tag that it holds, so that this one, too, comes into every split."""
    held = np.zeros((len(rows), num_classes), dtype=np.bool_)
    for row, tags in enumerate(rows):
        held[row, list(tags)] = True
    strata: Rows = np.where(held, held.sum(0), len(rows) + 1).argmin(1)
    return strata


def _contradictions(rows: TextRows, texts: Sequence[str], labels: Sequence[Sequence[str]]) -> list[str]:
    """Return what to know of texts that stand there with several rows of tags."""
    first: dict[str, int] = {}
    torn = []
    for row, text in enumerate(texts):
        before = first.setdefault(text, row)
        if labels[before] != labels[row]:
            torn.append((before, row))
    if not torn:
        return []
    shown = f"{rows.where(torn[0][0])} and {rows.where(torn[0][1])}"
    return [f"{len(torn):,} texts stand there again with other tags, as {shown}; the first of them is kept"]
