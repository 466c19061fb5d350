"""Embeddings of the classic text models: a vector a token, and one for the pair it makes with the token after it.

Pairs are not counted but hashed into buckets, so that their table has a size of one's choice (as the character n-grams
of fastText, arXiv 1607.04606).
"""

import torch
from torch import Tensor, nn

_PRIME = 1_000_003
"""Spreads pairs over the buckets; any large prime does."""
_PAIR_STD = 0.05


class TokenEmbedding(nn.Module):
    """Maps tokens (B, T) to vectors (B, T, width), 0 at padding."""

    def __init__(self, vocab_size: int, width: int, bigrams: int = 0) -> None:
        """Build the tables.

        Args:
            vocab_size: Number of tokens.
            width: Of a token's vector; that of a pair is as wide and stands beside it.
            bigrams: Buckets of pairs; 0: none.
        """
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.pairs = nn.Embedding(bigrams, width) if bigrams else None
        if self.pairs is not None:
            # Most pairs are rare: one that was hardly seen must say next to nothing, not stand out by its first value;
            # and tokens must not drown them.
            for table in (self.tokens, self.pairs):
                nn.init.normal_(table.weight, std=_PAIR_STD)
        self.width = width * (2 if bigrams else 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the vectors; a pair with what is no token counts as one with token -1.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T) 1 = token, 0 = padding.
        """
        vectors: Tensor = self.tokens(input_ids)
        if self.pairs is not None:
            following = input_ids.new_full(input_ids.shape, -1)
            inside = attention_mask[:, 1:].bool()
            following[:, :-1] = torch.where(inside, input_ids[:, 1:], -1)
            bucket = (input_ids * _PRIME + following + 1) % self.pairs.num_embeddings
            vectors = torch.cat([vectors, self.pairs(bucket)], dim=-1)
        return vectors * attention_mask[..., None].to(vectors.dtype)
