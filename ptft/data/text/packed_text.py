"""Raw text of any size as blocks of tokens, for language models; a subclass says where the documents are.

The text is read once, divided by whole documents, tokenised once into a store on the disk (`token_store.py`), and laid
out for what is learned from it: `data.layout` is causal for task=text/causal, masked for task=text/masked, pairs for
task=text/pretraining.
"""

import dataclasses
import hashlib
import os
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ptft.data.cached_folder import made_once
from ptft.data.data_module import Batch, BatchPlan, DataModule, DataSpec
from ptft.data.download import cache_folder
from ptft.data.split import Split
from ptft.data.text import clean
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.coder import Coder, given_words, make_coder, open_coder, write_coder
from ptft.data.text.documents import Documents
from ptft.data.text.encode import encode_texts
from ptft.data.text.layout import LEAST, BlockForm, cut_blocks, tokens_for
from ptft.data.text.packed import Blocks
from ptft.data.text.rows import texts_of
from ptft.data.text.spec import check_fit, without_tokenizer
from ptft.data.text.survey import SPLITS, Survey, open_survey, take_survey
from ptft.data.text.token_batches import EvaluationBlocks, Kept, TrainingBlocks
from ptft.data.text.token_store import Stream, build_store, open_store
from ptft.data.text.tokenizer_training import TokenizerSettings, given_tokenizer
from ptft.errors import ConfigError
from ptft.runtime.random import seed_for
from ptft.types import NonNegativeInt, PositiveInt, PositiveShare, UnitFloat

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_KEPT = 5
"""Keeps the draw of `label_fraction` apart from others with the same seed."""


@dataclass(eq=False, repr=False)
class PackedText(DataModule):
    """Raw text, packed into blocks.

    `index` is the number of the block, counted through train, val and test.

    Attributes:
        augmentations: Stays empty: there are none for texts.
        path: Where the text lies.
        layout: What the blocks are laid out for; see `packed.py` and `sentence_pairs.py`.
        max_length: Tokens of a block.
        isolate_documents: Whether documents in a block are kept from attending to each other.
        tokenizer: Which tokenizer; a config gives a mapping of the fields of `TokenizerSettings`.
        normalisation: Unicode form of the text, see `clean.py`.
        deduplicate: Whether exact copies of a document are removed before the documents are divided.
        split: How to divide: whole documents, without strata; `group=file` keeps those of a file together. A single
            document is cut into train, val and test in this order. A config gives a mapping of the fields of `Split`.
        label_fraction: Share of the training blocks to keep, above 0.
        on_bad_sample: error: stop at the first file or row that cannot be used; skip: leave those out and list them.
        max_bad: Largest share of the files, or rows, that may be left out.
        cache_folder: Where tokens are kept; None: that of downloads.
        num_workers: Threads that tokenise, and that make batches ahead; auto: a thread for each core to tokenise, none
            to make batches on a CPU.
        allow_changed: Read by resume: go on although the fingerprint is another.
        num_truncated: Texts that `batch_of` cut so far.
    """

    augmentations: Sequence[Any]
    _: KW_ONLY
    path: str | None = None
    layout: Literal["causal", "masked", "pairs"] = "masked"
    max_length: PositiveInt = 128
    isolate_documents: bool = False
    tokenizer: TokenizerSettings | None = None
    normalisation: Literal["nfc", "nfkc", "none"] = "nfc"
    deduplicate: bool = True
    split: Split | None = None
    label_fraction: PositiveShare = 1.0
    on_bad_sample: Literal["error", "skip"] = "error"
    max_bad: UnitFloat = 0.01
    cache_folder: str | None = None
    num_workers: NonNegativeInt | Literal["auto"] = "auto"
    allow_changed: bool = False

    def __post_init__(self) -> None:
        """Check the settings; nothing is read before `setup`.

        Raises:
            ConfigError: A setting is out of range, or two do not go together.
        """
        if self.augmentations:
            kind = type(self.augmentations[0]).__name__
            raise ConfigError(f"{kind} is an augmentation of pictures; give augmentation=none for these texts")
        if not 0 < self.label_fraction <= 1:
            raise ConfigError(f"data.label_fraction takes a share above 0 and at most 1, found {self.label_fraction}")
        if self.max_length < LEAST[self.layout]:
            raise ConfigError(
                f"data.max_length={self.max_length} leaves no room for text with data.layout={self.layout}; give at "
                f"least {LEAST[self.layout]}"
            )
        if self.isolate_documents and self.layout == "pairs":
            raise ConfigError(
                "data.isolate_documents=true has no meaning with data.layout=pairs; leave one of them out"
            )
        self._division = Split.of(self.split)
        self._tokens = TokenizerSettings.of(self.tokenizer)
        self._weights: Path | None = None
        self._coder: Coder | None = None
        self._survey: Survey | None = None
        self._streams: Mapping[str, Stream] = {}
        self._blocks: dict[str, Blocks] = {}
        self._spec: DataSpec | None = None
        self._told: list[str] = []
        self.num_truncated = 0

    # ---- What a subclass says ---------------------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> Documents:
        """List the documents.

        Raises:
            DataError: There are none, or something about them is wrong.
        """

    # ---- Setting up -------------------------------------------------------------------------------------------------

    def start_from(self, folder: Path) -> None:
        """Take the tokenizer of the weights in a folder, where they come with one and no other is named."""
        self._weights = folder

    def setup(self, spec: DataSpec | None = None) -> None:
        """Read and divide the documents; train the tokenizer, or take that of `spec`, and tokenise: all of it once.

        What was made before for the same texts and settings is taken from the disk. With a `spec`, `self.spec` is that
        one with the fingerprint of the data read now.

        Raises:
            DataError: The data are missing, empty, damaged, or do not fit `spec`.
            ConfigError: The tokenizer's settings do not fit.
        """
        documents = self.read()
        key = self._key(documents.identity, dataclasses.astuple(self._division), self.deduplicate)
        survey, *told = self._surveyed(documents, key)
        self._coder = coder = self._coded(documents, survey, key, spec)
        tokens = tokens_for(coder, self.layout)
        name = f"tokens-{self._key(key, coder.files, self.layout)}"

        def texts() -> Iterator[tuple[int, str, bool]]:
            return ((code, piece.text, piece.begins) for code, piece in survey.pieces(documents))

        def build(folder: Path) -> None:
            build_store(texts, survey.num_bytes, tokens, folder, self._threads())

        self._streams, warning = made_once(self._folder() / name, build, open_store, "the cache of tokens")
        self._survey = survey
        form = BlockForm(self.layout, self.max_length, self.isolate_documents)
        self._blocks = cut_blocks(self._streams, coder, form, self.title)
        own = self._described(coder)
        if spec is not None:
            check_fit(own, spec, self.title)
            own = spec
        self._spec = dataclasses.replace(own, fingerprint=key)
        untaught = without_tokenizer(self._weights, self._tokens) if spec is None else []
        self._told = [note for note in (*told, warning, *self._notes(survey), *untaught) if note]

    def _surveyed(self, documents: Documents, key: str) -> tuple[Survey, str]:
        def build(folder: Path) -> None:
            bad = BadRows(self.on_bad_sample, self.max_bad)
            take_survey(documents, self._division, folder, bad, deduplicate=self.deduplicate)

        # What may be left out decides whether this is an error, but not what is found.
        name = f"corpus-{self._key(key, self.on_bad_sample, self.max_bad)}"
        survey, warning = made_once(self._folder() / name, build, open_survey, "the cache of documents")
        return survey, warning

    def _coded(self, documents: Documents, survey: Survey, key: str, spec: DataSpec | None) -> Coder:
        """Return the tokenizer with what tells words: of the run, of the weights, or learned from training texts."""
        if spec is not None:
            return Coder.from_files(spec.files, f"{self.title}: the run's tokenizer")
        tokenizer, known = given_tokenizer(self._tokens, self._weights), given_words(self._weights)
        causal = self.layout == "causal"
        files = [part.files if part is not None else None for part in (tokenizer, known)]
        parts = (key, self._tokens if tokenizer is None else "given", files, causal)

        def texts() -> Iterator[str]:
            return (piece.text for code, piece in survey.pieces(documents) if code == 0)

        def build(folder: Path) -> None:
            made = make_coder(self._tokens, texts, survey.num_bytes, tokenizer=tokenizer, known=known, causal=causal)
            write_coder(made, folder)

        found, _ = made_once(self._folder() / f"tokenizer-{self._key(*parts)}", build, open_coder, "the tokenizer")
        return found

    def _described(self, coder: Coder) -> DataSpec:
        """Return what the data know but for their fingerprint."""
        return DataSpec(
            kind="text",
            shape=(self.max_length,),
            preprocessing={"normalisation": self.normalisation, "layout": self.layout},
            inputs=(*_INPUTS, "document") if self.isolate_documents else _INPUTS,
            target="tokens",
            vocab_size=coder.tokenizer.vocab_size,
            special_tokens=coder.tokenizer.special_tokens,
            files=coder.files,
        )

    def _notes(self, survey: Survey) -> Iterator[str]:
        if survey.num_copies:
            copies = "1 exact copy" if survey.num_copies == 1 else f"{survey.num_copies:,} exact copies"
            yield f"removed {copies} of other documents ({survey.num_copies / len(survey.codes):.1%})"
        if survey.bad:
            yield f"left out {len(survey.bad):,} files or rows that cannot be used; bad_samples.jsonl names them"
        if survey.cuts:
            yield "there is one document only: its beginning is train, then come val and test"

    @staticmethod
    def _key(*parts: object) -> str:
        """Return what tells things made of these parts from all others, as 32 hexadecimal digits."""
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def _folder(self) -> Path:
        return Path(self.cache_folder).expanduser() if self.cache_folder is not None else cache_folder()

    def _threads(self) -> int:
        # Not every system tells which of its cores a process may use.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores if self.num_workers == "auto" else self.num_workers)

    # ---- What others ask for ----------------------------------------------------------------------------------------

    @property
    def spec(self) -> DataSpec:
        """What the data know, once set up or restored."""
        assert self._spec is not None, "setup() comes first"
        return self._spec

    @property
    def num_examples(self) -> int:
        """Blocks in the training split, after `label_fraction`."""
        return self._kept("train").count

    def describe(self) -> str:
        """Return one line on the data for the console: documents and tokens of the splits, blocks, vocabulary."""
        assert self._survey is not None, "setup() comes first"
        sizes = ", ".join(
            f"{count:,} {name} ({len(self._streams[name]):,} tokens)"
            for name, count in zip(SPLITS, self._survey.counts, strict=True)
        )
        what = "pairs" if self.layout == "pairs" else "blocks"
        kept = "" if self.label_fraction == 1 else f" (label_fraction={self.label_fraction:g})"
        return (
            f"{self.title}: documents {sizes}; {self.num_examples:,} {what} of {self.max_length} tokens to train "
            f"on{kept}, vocabulary of {self.spec.vocab_size:,}"
        )

    def warnings(self) -> Sequence[str]:
        """Return what a person should know: copies removed, files left out, a single document cut."""
        return tuple(self._told)

    def rejected(self) -> Sequence[Mapping[str, Any]]:
        """Return the files, or rows, left out: file, line and reason."""
        return self._survey.bad if self._survey is not None else ()

    def train_loader(self, plan: BatchPlan) -> Generator[Batch, None, None]:
        """Yield training batches without end, from `plan.start_step` on, on `plan.device`."""
        # Gathering takes a fraction of a millisecond: on a CPU a thread would only take time from the training.
        least = 0 if plan.device.type == "cpu" else 2
        workers = max(least, plan.num_workers) if self.num_workers == "auto" else self.num_workers
        return iter(TrainingBlocks(self._blocks["train"], self._kept("train"), plan, workers))

    def evaluation_loaders(self, plan: BatchPlan) -> Mapping[str, EvaluationBlocks]:
        """Return a loader for `train`, `val` and `test`: each block once, in an order that is always the same."""
        size, vocabulary = self.max_length, self.spec.vocab_size if self.layout == "causal" else 1
        return {
            name: EvaluationBlocks(blocks, self._kept(name), plan, tokens=size, vocab_size=vocabulary)
            for name, blocks in self._blocks.items()
        }

    def _kept(self, split: str) -> Kept:
        size = len(self._blocks[split])
        count = max(1, round(self.label_fraction * size)) if split == "train" else size
        return Kept(size, count, seed_for(self._division.seed, _KEPT))

    # ---- New rows ---------------------------------------------------------------------------------------------------

    def restore(self, spec: DataSpec) -> None:
        """Take the tokenizer of a run without reading any data."""
        self._coder = Coder.from_files(spec.files, f"{self.title}: the run's tokenizer")
        self._spec = spec

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that `batch_of` reads of a row: `text`, and of pairs `text_pair`, which may be missing."""
        return ("text", "text_pair") if self.layout == "pairs" else ("text",)

    def batch_of(self, rows: Sequence[Mapping[str, Any]], device: torch.device) -> Batch:
        """Return new texts as a batch: what a masked model fills, or what a causal one goes on from, which is not cut.

        Raises:
            RowError: A row has no text, or something that is none.
        """
        assert self._coder is not None, "restore() or setup() comes first"
        texts = [clean.plain(text, self.normalisation) for text in texts_of(rows, "text", "text")]
        pairs = None
        if self.layout == "pairs" and any(row.get("text_pair") for row in rows):
            pairs = [clean.plain(str(row.get("text_pair") or ""), self.normalisation) for row in rows]
        most = None if self.layout == "causal" else self.spec.shape[0]
        encoded = encode_texts(self._coder.tokenizer, texts, pairs, max_length=most)
        self.num_truncated += encoded.num_truncated
        batch = encoded.gather(encoded.index)
        if "document" in self.spec.inputs:
            batch["document"] = batch["attention_mask"]
        return {name: value.to(device) for name, value in batch.items()}
