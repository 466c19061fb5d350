"""Keeps the vectors of tokens that the training data use; all other tokens share that of the unknown one.

A small text model is mostly its table of tokens, of which a corpus uses a part. The tokenizer and the data stay as they
are (`ptft.compression.vocabulary`); so do tables for pairs of tokens, which are hashed.
"""

import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptft.compression.step import Edit, NetworkStep, Workshop
from ptft.compression.structure import apply_edits
from ptft.compression.vocabulary import TrimmedEmbedding, find_embedding
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.task.task import Task
from ptft.task.text.vocabulary import tokenizer_of
from ptft.types import DurationText, PositiveInt

OF_TOKENS = ("masked", "causal", "pretraining")
"""Outputs over the whole vocabulary."""


class TrimVocabulary(NetworkStep):
    """Makes the table of tokens as small as the training data allow; on them no logit changes, with `min_count` 1."""

    def __init__(
        self,
        *,
        min_count: PositiveInt = 1,
        keep: list[str] | None = None,
        recover: DurationText | None = None,
    ) -> None:
        """Set what stays.

        Args:
            min_count: Times that a token must stand in the training data.
            keep: Further tokens that stay, as the tokenizer writes them (`##ing`); special ones stay anyway.
            recover: How long to train afterwards; None: not at all.
        """
        self.min_count = min_count
        self.keep = keep
        self.recover = recover

    def check(self, task: Task, spec: DataSpec) -> None:
        """Find networks whose table of tokens must stay whole.

        Raises:
            ConfigError: The data are no text, the network gives tokens, has no table of them, or one that does more
                than look up; or a token to keep is not known.
        """
        if spec.kind != "text" or not spec.vocab_size:
            raise ConfigError(f"trim_vocabulary is for text, and these data are {spec.kind}; leave it out")
        output = task.output if task.output in OF_TOKENS else spec.output
        if output in OF_TOKENS:
            raise ConfigError(
                f"trim_vocabulary: the network answers with tokens (output `{output}`), so it needs all of them; "
                "fine-tune it on labels first, or leave trim_vocabulary out"
            )
        network = task.get_submodule("model")
        found = find_embedding(network)
        if found is None:
            raise ConfigError(f"trim_vocabulary: {type(network).__name__} has no table of tokens; leave it out")
        if isinstance(found[1], TrimmedEmbedding):
            raise ConfigError("trim_vocabulary: the vocabulary is trimmed already; leave it out")
        if type(found[1]) is not nn.Embedding or found[1].max_norm is not None:
            kind = type(found[1]).__name__
            raise ConfigError(f"trim_vocabulary: `{found[0]}` is a {kind} that does more than look up; leave it out")
        self._chosen(spec)

    def apply(self, task: Task, workshop: Workshop) -> Sequence[Edit]:
        """Trim the table, train if set, and return the edit."""
        network = task.get_submodule("model")
        found = find_embedding(network)
        assert found is not None, "checked"
        name, table = found
        assert isinstance(table, nn.Embedding), name
        counts = count_tokens(workshop, table.num_embeddings)
        kept = counts >= self.min_count
        kept[[*workshop.spec.special_tokens.values(), *self._chosen(workshop.spec)]] = True
        if table.padding_idx is not None:
            kept[table.padding_idx] = True
        remap, weight = smaller(table.weight.detach(), kept, workshop.spec.special_tokens.get("unk"))
        padding = None if table.padding_idx is None else int(remap[table.padding_idx])
        edit = {"kind": "vocabulary", "embedding": name, "rows": len(weight), "padding": padding}
        apply_edits(network, [edit])
        trimmed = network.get_submodule(name)
        assert isinstance(trimmed, TrimmedEmbedding), name
        with torch.no_grad():
            trimmed.weight.copy_(weight)
            trimmed.remap.copy_(remap)
        covered = 100 * int(counts[kept].sum()) / max(1, int(counts.sum()))
        workshop.say(
            f"trimmed the vocabulary from {table.num_embeddings:,} rows to {len(weight):,}; they cover {covered:.2f}% "
            f"of {int(counts.sum()):,} tokens of the training data"
        )
        if self.recover is not None:
            workshop.recover(task, self.recover)
        return [edit]

    def _chosen(self, spec: DataSpec) -> list[int]:
        """Return the numbers of the tokens to keep.

        Raises:
            ConfigError: The tokenizer does not know one.
        """
        if not self.keep:
            return []
        backend = tokenizer_of(spec).backend
        numbers = [number for token in self.keep if (number := backend.token_to_id(token)) is not None]
        if unknown := [token for token in self.keep if backend.token_to_id(token) is None]:
            raise ConfigError(
                f"trim_vocabulary.keep: the tokenizer has no token `{unknown[0]}`; give tokens as it writes them, "
                "`##ing` say, not words"
            )
        return numbers


def count_tokens(workshop: Workshop, vocab_size: int) -> Tensor:
    """Return how often each token stands in the training data, (V,) int64; padding does not count."""
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    for batch in workshop.batches(sys.maxsize):
        tokens = batch["input_ids"][batch["attention_mask"] > 0]
        counts += torch.bincount(tokens, minlength=vocab_size)
    return counts


def smaller(weight: Tensor, kept: Tensor, unknown: int | None) -> tuple[Tensor, Tensor]:
    """Return the row of each token, (V,) int64, and the smaller table, (rows, D).

    Args:
        weight: (V, D) vectors of all tokens.
        kept: (V,) bool, the tokens with a row of their own.
        unknown: The token whose row the others share; None: they share one more row, their mean.
    """
    remap = torch.zeros(len(weight), dtype=torch.int64)
    remap[kept] = torch.arange(int(kept.sum()))
    rows = weight[kept]
    if unknown is not None:
        remap[~kept] = remap[unknown]
    elif not kept.all():
        remap[~kept] = len(rows)
        rows = torch.cat([rows, weight[~kept].mean(0, keepdim=True)])
    return remap, rows
