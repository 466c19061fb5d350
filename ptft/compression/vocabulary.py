"""A table of token vectors with rows for some tokens only, which still takes every number that the tokenizer gives.

(Abdaoui and others, Load What You Need, arXiv 2010.05609, drop the tokens from the tokenizer too; here it stays as it
is, and so do the data.)
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptft.model.text.embedding import TokenEmbedding
from ptft.model.text.network import TextNetwork


class TrimmedEmbedding(nn.Embedding):
    """An embedding that looks up first which row a token has; many tokens may share one."""

    remap: Tensor

    def __init__(self, vocab_size: int, rows: int, width: int, padding_idx: int | None = None) -> None:
        """Build the table, with every token at row 0 until `remap` is filled.

        Args:
            vocab_size: Number of tokens.
            rows: Number of vectors.
            width: Of a vector.
            padding_idx: Row that never learns; None: all do.
        """
        super().__init__(rows, width, padding_idx)
        kind = torch.int16 if rows <= torch.iinfo(torch.int16).max else torch.int32
        self.register_buffer("remap", torch.zeros(vocab_size, dtype=kind))

    def forward(self, input: Tensor) -> Tensor:
        """Map token numbers (B, T) of the tokenizer to vectors (B, T, width)."""
        return F.embedding(self.remap[input].long(), self.weight, self.padding_idx)


def find_embedding(network: nn.Module) -> tuple[str, nn.Module] | None:
    """Return the name and the module of a network's table of token vectors, or None where it has none."""
    wanted: nn.Module | None = None
    if isinstance(network, TextNetwork):
        wanted = network.model.get_input_embeddings()
    else:
        tables = [module for module in network.modules() if isinstance(module, TokenEmbedding)]
        wanted = tables[0].tokens if len(tables) == 1 else None
    if wanted is None:
        return None
    return next(((name, module) for name, module in network.named_modules() if module is wanted), None)


def trimmed_embedding(table: nn.Embedding, rows: int, padding_row: int | None = None) -> TrimmedEmbedding:
    """Return an embedding of fewer rows for a table's tokens, of its width, kind and device; values are yet to be set.

    Args:
        table: The whole table.
        rows: Number of vectors.
        padding_row: Row of the padding, where the table knows one.
    """
    new = TrimmedEmbedding(table.num_embeddings, rows, table.embedding_dim, padding_row)
    new.to(device=table.weight.device, dtype=table.weight.dtype)
    new.weight.requires_grad_(table.weight.requires_grad)
    return new.train(table.training)


def full_embedding(trimmed: TrimmedEmbedding, padding_idx: int | None) -> nn.Embedding:
    """Return a plain embedding that gives the same vectors: a row for every token.

    Args:
        trimmed: What it stands for.
        padding_idx: Number of the padding token, where the plain table knows one.
    """
    weight = trimmed.weight.detach()[trimmed.remap.long()]
    table = nn.Embedding(len(weight), weight.shape[1], padding_idx, _weight=weight)
    table.weight.requires_grad_(trimmed.weight.requires_grad)
    return table.train(trimmed.training)
