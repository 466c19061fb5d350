"""Which tokens are hidden for masked language modelling, and by what (BERT, arXiv 1810.04805, section 3.1).

Words are shuffled by a draw each and taken until the share is reached; a token of a chosen word becomes [MASK] in 80%,
another token in 10%, and stays as it is in 10% of the cases. All of it is worked out at once for a batch, and a token's
draws depend on its example, epoch and place alone: padding and the other examples change nothing.
Legend: B batch, T time, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import ConfigError, DataError
from ptft.runtime.random import Draws
from ptft.task.text.tokens import IGNORED
from ptft.task.text.vocabulary import starts_word

# What a draw is for: the slots of `Draws`.
_WORD, _ACTION, _TOKEN = range(3)


@dataclass(frozen=True)
class Masking:
    """Hides tokens of a batch.

    Attributes:
        fraction: Share of the tokens of an example that is hidden; specials and padding are none of them.
        as_mask: Share of the hidden tokens that become the mask token.
        as_random: Share of them that become another token, drawn evenly; the rest stays as it is.
        vocab_size: Token numbers lie in [0, vocab_size).
        mask: Number of the mask token.
        specials: Numbers of all special tokens, ascending: never hidden, never drawn.
        starts: (V,) bool, the tokens that begin a word; None: every token is hidden by itself.
    """

    fraction: float
    as_mask: float
    as_random: float
    vocab_size: int
    mask: int
    specials: tuple[int, ...]
    starts: Tensor | None

    @classmethod
    def of(cls, spec: DataSpec, fraction: float, as_mask: float, as_random: float, whole_words: bool) -> "Masking":
        """Return the masking for some data.

        Raises:
            ConfigError: The shares make more than a whole.
            DataError: The tokenizer has no mask token.
        """
        if as_mask + as_random > 1:
            raise ConfigError(
                f"task.as_mask={as_mask:g} and task.as_random={as_random:g} are shares of the hidden tokens and make "
                "more than 1; lower one of them"
            )
        if "mask" not in spec.special_tokens:
            raise DataError(
                "masked language modelling needs a tokenizer with a mask token, but that of these data has "
                f"{', '.join(sorted(spec.special_tokens)) or 'no special tokens'}; train one "
                "(data.tokenizer.path=null) or choose task=text/causal"
            )
        specials = tuple(sorted(set(spec.special_tokens.values())))
        starts = starts_word(spec) if whole_words else None
        return cls(fraction, as_mask, as_random, spec.vocab_size, spec.special_tokens["mask"], specials, starts)

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with hidden tokens in `input_ids` (B, T) and what they were in `labels` (B, T).

        `labels` is IGNORED where nothing is hidden. Words are told by `word_start` (B, T) bool if the batch has it,
        else by the tokens.
        """
        tokens = batch["input_ids"]
        hidden = self.choose(batch, draws)
        action = draws.uniform(_ACTION, tokens.shape[1])
        drawn = self._ordinary(draws, tokens.shape[1])
        shown = torch.where(
            action < self.as_mask, self.mask, torch.where(action < self.as_mask + self.as_random, drawn, tokens)
        )
        return batch | {
            "input_ids": torch.where(hidden, shown, tokens),
            "labels": tokens.masked_fill(~hidden, IGNORED),
        }

    def choose(self, batch: Batch, draws: Draws) -> Tensor:
        """Return which tokens are hidden, (B, T) bool: whole words, at least one where an example has any.

        A word is taken if its middle lies before the share is reached, so that long words do not raise the share.
        """
        tokens = batch["input_ids"]
        candidate = batch["attention_mask"].bool() & ~torch.isin(
            tokens, torch.tensor(self.specials, device=tokens.device)
        )
        place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        begin = torch.where(self._begins(batch, candidate), place, -1).cummax(dim=1).values.clamp(min=0)  # of the word
        key = draws.uniform(_WORD, tokens.shape[1]).gather(1, begin).masked_fill(~candidate, 2.0)  # draws lie below 1
        rank = key.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        before = rank.gather(1, begin)  # tokens of the words that come earlier in the shuffled order
        length = torch.zeros_like(tokens).scatter_add_(1, begin, candidate.long()).gather(1, begin)
        share = self.fraction * candidate.sum(dim=1, keepdim=True)
        hidden: Tensor = candidate & ((before + length / 2 <= share) | (before == 0))
        return hidden

    def _begins(self, batch: Batch, candidate: Tensor) -> Tensor:
        """Return which candidates (B, T) begin a word; one behind a special token or in front of all always does."""
        if self.starts is None:
            return candidate
        if "word_start" in batch:
            starts = batch["word_start"].bool()
        else:
            starts = self.starts.to(candidate.device)[batch["input_ids"]]
        first = candidate.clone()
        first[:, 1:] &= ~candidate[:, :-1]
        begins: Tensor = candidate & starts | first
        return begins

    def _ordinary(self, draws: Draws, length: int) -> Tensor:
        """Return tokens (B, T) drawn evenly from all that are not special."""
        tokens = draws.integers(_TOKEN, self.vocab_size - len(self.specials), length)
        for special in self.specials:  # ascending: each moves what lies at or above it up by one
            tokens += tokens >= special
        return tokens
