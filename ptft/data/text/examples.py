"""Texts as examples: read, cleaned, divided, tokenised once, and batched by length.

A subclass reads the rows; labels that are not of a whole text (tags of words, answers) override more. The batch of step
k is a pure function of (plan.seed, k).
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ptft.data.data_module import Batch, BatchPlan, DataModule, DataSpec
from ptft.data.split import Split, keep_labels
from ptft.data.split_groups import group_names
from ptft.data.text import clean
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.batches import EvaluationTexts, TrainingTexts
from ptft.data.text.coder import words_for
from ptft.data.text.divided import DividedTexts, divide_texts
from ptft.data.text.encode import encode_texts
from ptft.data.text.encoded import Encoded
from ptft.data.text.labels import Labels, number_labels, read_labels
from ptft.data.text.rows import Rows, TextRows, texts_of
from ptft.data.text.spec import check_fit, class_shares, fingerprint, without_tokenizer
from ptft.data.text.tokenizer import TextTokenizer
from ptft.data.text.tokenizer_training import TokenizerSettings, make_tokenizer
from ptft.data.text.words import WordStarts
from ptft.errors import ConfigError, DataError
from ptft.types import NonNegativeInt, PositiveInt, PositiveShare, UnitFloat

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(eq=False, repr=False)
class TextExamples(DataModule):
    """Texts, or pairs of them, each with its label or none.

    `index` is the number of the row among those that are left once the data are cleaned, the same in every split.

    Attributes:
        augmentations: Stays empty: there are none for texts.
        path: Where the texts lie.
        target: What is learned of a text: one class, any number of labels, a value; tokens: the text itself.
        tokenizer: Which tokenizer; a config gives a mapping of the fields of `TokenizerSettings`.
        max_length: Most tokens of a text, or of a pair, the special ones counted; longer ones are cut.
        normalisation: Unicode form of the texts, see `clean.py`.
        deduplicate: Whether exact copies are removed before the data are divided, and texts that stand there with
            several labels left out; False: copies stay together in one split.
        fail_on_overlap: Whether exact copies across the splits that the data give are an error, not a warning.
        split: How to divide; a config gives a mapping of the fields of `Split`.
        label_fraction: Share of the training labels to keep, above 0; the training split shrinks to them (see
            `keep_labels`), the other splits do not.
        length_window: Steps whose examples are sorted by length together, so that batches hold little padding; 1: none.
        on_bad_sample: error: stop at the first row that cannot be used; skip: leave those out and list them.
        max_bad: Largest share of the rows that may be left out.
        num_workers: Threads that make batches ahead; auto: none, but 2 where batches must be copied to a device.
        allow_changed: Read by resume: go on although the fingerprint is another.
        num_truncated: Texts that `batch_of` cut so far.
    """

    augmentations: Sequence[Any]
    _: KW_ONLY
    path: str | None = None
    target: Literal["class", "labels", "value", "tokens"] = "class"
    tokenizer: TokenizerSettings | None = None
    max_length: PositiveInt = 128
    normalisation: Literal["nfc", "nfkc", "none"] = "nfc"
    deduplicate: bool = True
    fail_on_overlap: bool = False
    split: Split | None = None
    label_fraction: PositiveShare = 1.0
    length_window: PositiveInt = 32
    on_bad_sample: Literal["error", "skip"] = "error"
    max_bad: UnitFloat = 0.01
    num_workers: NonNegativeInt | Literal["auto"] = "auto"
    allow_changed: bool = False

    def __post_init__(self) -> None:
        """Check the settings; nothing is read before `setup`.

        Raises:
            ConfigError: A setting is out of range, or augmentations of pictures are asked for.
        """
        if self.augmentations:
            kind = type(self.augmentations[0]).__name__
            raise ConfigError(
                f"{kind} is an augmentation of pictures, and these data are texts; give augmentation=none"
            )
        if not 0 < self.label_fraction <= 1:
            raise ConfigError(f"data.label_fraction takes a share above 0 and at most 1, found {self.label_fraction}")
        self._division = Split.of(self.split)
        self._tokens = TokenizerSettings.of(self.tokenizer)
        self._weights: Path | None = None
        self._set: DividedTexts | None = None
        self._spec: DataSpec | None = None
        self._told: list[str] = []
        self._coder: TextTokenizer | None = None
        self._words: WordStarts | None = None  # only where the text itself is learned: whole words are hidden then
        self.bad_rows = BadRows(self.on_bad_sample, self.max_bad)
        self.num_truncated = 0

    # ---- What a subclass says ---------------------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> TextRows:
        """Read the rows; those that cannot be used go to `self.bad_rows.note`.

        Raises:
            DataError: There are none, or something about them is wrong.
        """

    def check(self, rows: TextRows) -> TextRows:
        """Return the rows whose labels can be read, with their labels read; the others go to `self.bad_rows.note`."""
        return read_labels(rows, self.target, self.bad_rows)

    def copy_key(self, rows: TextRows, row: int) -> object:
        """Return what makes two rows copies of each other: the text, and its pair."""
        return clean.text_key(rows, row)

    def number(self, rows: TextRows, known: Sequence[str] | None) -> Labels:
        """Return the labels as numbers, in the classes of a model if it brings some.

        Raises:
            DataError: A label is none of the model's, or there is one class only.
        """
        return number_labels(rows, self.target, known)

    def encode(self, tokenizer: TextTokenizer, rows: TextRows, labels: Labels) -> Encoded:
        """Return the rows as tokens; entries stand in the order of the rows, and `index` is the number of the row."""
        fixed = {"label": labels.values} if labels.values is not None else {}
        length, words = self.max_length, self._words
        return encode_texts(tokenizer, rows.texts, rows.pairs, max_length=length, fixed=fixed, words=words)

    def divide(
        self, rows: TextRows, labels: Labels, same: Sequence[Rows], groups: Sequence[str] | None, *, made: bool
    ) -> dict[str, Rows]:
        """Return the rows of each split; see `divide_texts`."""
        return divide_texts(rows, labels, self._division, together=same, groups=groups, made=made)

    def drops_torn(self) -> bool:
        """Tell whether texts with several labels are left out, rather than kept once with the first of them."""
        # Without a target too: so that what is learned without labels is the training split of what has them.
        return self.target in ("class", "labels", "tokens")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of a batch's tensors that a network takes."""
        return INPUTS

    # ---- Setting up -------------------------------------------------------------------------------------------------

    def start_from(self, folder: Path) -> None:
        """Take the tokenizer of the weights in a folder, where they come with one and no other is named."""
        self._weights = folder

    def setup(self, spec: DataSpec | None = None) -> None:
        """Read, clean and divide the texts; train the tokenizer, or take that of `spec`, and encode them.

        The tokenizer sees the whole training split, before `label_fraction` makes it smaller, as texts may be read
        without their labels. With a `spec`, `self.spec` is that one with the fingerprint of the data read now.

        Raises:
            DataError: The data are missing, empty, damaged, of one class only, or do not fit `spec`.
            ConfigError: `split.group` names no group, or the tokenizer's settings do not fit.
        """
        self.bad_rows = BadRows(self.on_bad_sample, self.max_bad)
        read = self.check(self.read())
        self.bad_rows.check(len(read))
        rows, told = clean.cleaned(read, self.normalisation)
        same = clean.copies(rows, lambda row: self.copy_key(rows, row))
        if self.deduplicate:
            rows, more = clean.deduplicated(rows, same, drop_torn=self.drops_torn())
            told += more
            same = clean.copies(rows, lambda row: self.copy_key(rows, row)) if rows.splits is not None else []
        if not len(rows):
            raise DataError(f"{self.title}: no row with text is left of {len(read) + len(self.bad_rows.rows):,}")
        labels = self.number(rows, spec.classes if spec is not None and spec.classes else None)
        groups = self._grouped(rows)
        splits = self.divide(rows, labels, same, groups, made=spec is not None)
        overlap = clean.shared(rows, same, splits)
        if overlap and self.fail_on_overlap:
            raise DataError(f"{self.title}: {'; '.join(overlap)}. data.fail_on_overlap=false goes on with a warning")
        self._coder = self._tokenizer_for(rows, splits["train"], spec)
        if self.target == "tokens":
            files = spec.files if spec is not None else None
            self._words = words_for(files, self._weights, rows.all_texts(splits["train"]))
        splits["train"] = keep_labels(labels.strata, splits["train"], self.label_fraction, self._division)
        untaught = without_tokenizer(self._weights, self._tokens) if spec is None else []
        encoded = self.encode(self._coder, rows, labels)
        self._set = DividedTexts(rows, labels, encoded, splits, groups)
        digest = fingerprint(rows, labels, splits)
        own = self._described(labels, splits["train"], self._coder)
        if spec is not None:
            check_fit(own, spec, self.title)
            own = spec
        self._spec = dataclasses.replace(own, fingerprint=digest)
        self._told = [*rows.notes, *self.bad_rows.notes(), *told, *overlap, *self._set.unseen(), *untaught]

    def _grouped(self, rows: TextRows) -> tuple[str, ...] | None:
        if self._division.group is None:
            return None
        places = [rows.place(row) for row in range(len(rows))]
        return group_names(self._division.group, places, rows.columns)

    def _tokenizer_for(self, rows: TextRows, train: Rows, spec: DataSpec | None) -> TextTokenizer:
        if spec is not None:
            return TextTokenizer.from_files(spec.files, f"{self.title}: the run's tokenizer")
        return make_tokenizer(self._tokens, rows.all_texts(train), self._weights)

    def _described(self, labels: Labels, train: Rows, tokenizer: TextTokenizer) -> DataSpec:
        """Return what the data know but for their fingerprint."""
        mean, std = labels.moments(train)
        return DataSpec(
            kind="text",
            shape=(self.max_length,),
            classes=labels.classes,
            class_counts=labels.counts(train),
            value_mean=mean,
            value_std=std,
            preprocessing=self._preprocessing(),
            inputs=self.inputs,
            target=self.target,
            vocab_size=tokenizer.vocab_size,
            special_tokens=tokenizer.special_tokens,
            files={**tokenizer.files, **(self._words.files if self._words is not None else {})},
        )

    def _preprocessing(self) -> dict[str, Any]:
        return {"normalisation": self.normalisation}

    # ---- What others ask for ----------------------------------------------------------------------------------------

    @property
    def spec(self) -> DataSpec:
        """What the data know, once set up or restored."""
        assert self._spec is not None, "setup() comes first"
        return self._spec

    @property
    def num_examples(self) -> int:
        """Entries in the training split, after `label_fraction`: examples, or the windows of long ones."""
        return len(self._whole.encoded.entries_of(self._whole.splits["train"]))

    def describe(self) -> str:
        """Return one line on the data for the console: sizes of the splits, tokens, vocabulary, balance of classes."""
        whole, spec = self._whole, self.spec
        sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in whole.splits.items())
        kept = "" if self.label_fraction == 1 else f" (label_fraction={self.label_fraction:g})"
        tokens = f"{self.max_length} tokens at most{whole.encoded.told()}, vocabulary of {spec.vocab_size:,}"
        return f"{self.title}: {sizes}{kept}; {tokens}; {class_shares(spec, whole.labels)}"

    def warnings(self) -> Sequence[str]:
        """Return what a person should know: rows left out, copies removed, splits that share texts."""
        return tuple(self._told)

    def rejected(self) -> Sequence[Mapping[str, Any]]:
        """Return the rows left out because they cannot be used: file, line and reason."""
        return tuple(self.bad_rows.rows)

    def attributes(self) -> Mapping[str, Sequence[str]]:
        """Return the further columns of the data; and `group` if `split.group` is set."""
        whole = self._whole
        own = {}
        if whole.groups is not None:
            own["group"] = tuple(name or whole.rows.place(row) for row, name in enumerate(whole.groups))
        return {**own, **whole.rows.columns}

    def paths(self) -> Sequence[str]:
        """Return where each example stands: a file, and its line in it."""
        return [self._whole.rows.place(row) for row in range(len(self._whole.rows))]

    def texts(self, index: Tensor) -> list[str]:
        """Return some texts as they are read, pairs joined by a line break."""
        rows = self._whole.rows
        pairs = rows.pairs
        return [rows.texts[row] + (f"\n{pairs[row]}" if pairs is not None else "") for row in index.tolist()]

    def train_loader(self, plan: BatchPlan) -> Generator[Batch, None, None]:
        """Yield training batches without end, from `plan.start_step` on, on `plan.device`."""
        whole = self._whole
        entries = whole.encoded.entries_of(whole.splits["train"])
        return iter(TrainingTexts(whole.encoded, entries, plan, self.length_window, self._workers(plan)))

    def evaluation_loaders(self, plan: BatchPlan) -> Mapping[str, EvaluationTexts]:
        """Return a loader for `train`, `val` and `test`: each example once, in an order that is always the same."""
        whole = self._whole
        return {
            name: EvaluationTexts(whole.encoded, rows, plan, self._workers(plan)) for name, rows in whole.splits.items()
        }

    def every_example(self, plan: BatchPlan) -> EvaluationTexts:
        """Return a loader for all rows but those left out, whatever `split` and `label_fraction` say."""
        whole = self._whole
        return EvaluationTexts(whole.encoded, np.arange(len(whole.rows)), plan, self._workers(plan))

    def _workers(self, plan: BatchPlan) -> int:
        # Gathering takes a fraction of a millisecond: on a CPU a thread would only take time from the training.
        least = 0 if plan.device.type == "cpu" else 2
        return max(least, plan.num_workers) if self.num_workers == "auto" else self.num_workers

    @property
    def _whole(self) -> DividedTexts:
        assert self._set is not None, "setup() comes first"
        return self._set

    # ---- New rows ---------------------------------------------------------------------------------------------------

    def restore(self, spec: DataSpec) -> None:
        """Take the tokenizer of a run without reading any data."""
        self._coder = TextTokenizer.from_files(spec.files, f"{self.title}: the run's tokenizer")
        self._spec = spec

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that `batch_of` reads of a row: `text`, or what the column is called; perhaps that of its pair."""
        return ("text",)

    def batch_of(self, rows: Sequence[Mapping[str, Any]], device: torch.device) -> Batch:
        """Return new texts as a batch, without labels; longer ones are cut and counted in `num_truncated`.

        Raises:
            RowError: A row has no text, or something that is none.
        """
        assert self._coder is not None, "restore() or setup() comes first"
        texts, *pairs = [self.column(rows, place) for place in range(len(self.fields))]
        encoded = encode_texts(self._coder, texts, pairs[0] if pairs else None, max_length=self.spec.shape[0])
        self.num_truncated += encoded.num_truncated
        batch = encoded.gather(np.arange(len(encoded)))
        return {name: value.to(device) for name, value in batch.items()}

    def column(self, rows: Sequence[Mapping[str, Any]], place: int) -> list[str]:
        """Return field `place` of `self.fields` of each row, normalised as in training.

        Raises:
            RowError: A row has no such field, or it is no text.
        """
        found = texts_of(rows, self.fields[place], ("text", "text_pair")[place])
        return [clean.normalised(text, self.normalisation) for text in found]
