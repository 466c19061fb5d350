"""The classic text model: embedding, LSTM or GRU in one or both directions, a linear layer.

LSTM: Hochreiter and Schmidhuber, 1997; GRU: Cho and others, arXiv 1406.1078. The backward direction is a layer of its
own over the row turned around within its length, so that padding is never read and nothing needs to be packed: on one
core a training step of a bidirectional LSTM (32 x 100, 128 wide) takes 54 ms where packed rows take 295, in bf16 23.

Legend: B batch, T tokens, D width, H hidden width.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.parts import Parts
from ptft.model.spec import ModelSpec, num_outputs, text_length
from ptft.model.text.embedding import TokenEmbedding
from ptft.model.text.pooling import pool
from ptft.model.text.tables import other_vocabulary
from ptft.types import DropRate, NonNegativeInt, PositiveInt

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Maps tokens to logits of the text (output `classes`) or of each token (`tags`)."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        cell: Literal["lstm", "gru"] = "lstm",
        embedding: PositiveInt = 128,
        bigrams: NonNegativeInt = 0,
        hidden: PositiveInt = 128,
        layers: PositiveInt = 1,
        bidirectional: bool = True,
        dropout: DropRate = 0.5,
        pooling: Literal["last", "mean", "max"] = "last",
    ) -> None:
        """Build the network.

        Args:
            spec: What the data know, and what the task wants.
            cell: Kind of recurrent layer.
            embedding: Width of a token's vector.
            bigrams: Buckets of vectors for pairs of neighbouring tokens, as wide again; 0: none.
            hidden: Width of a layer's state, of each direction.
            layers: Number of layers.
            bidirectional: Read the text backwards too.
            dropout: Of embeddings and of what each layer gives.
            pooling: What the head sees of a text: the state after the last token (backwards: the first), or the mean or
                maximum over its tokens. Of tags each token has its own.

        Raises:
            ConfigError: The task wants another output, or the data are no texts.
        """
        super().__init__()
        text_length(spec)
        if spec.output not in ("classes", "tags"):
            raise ConfigError(
                f"a recurrent model gives classes or tags, not the output `{spec.output}` that this task wants; "
                "choose a model such as text/bert_mini or text/gpt_nano"
            )
        self.output = spec.output
        self.pooling = pooling
        self.embedding = TokenEmbedding(spec.vocab_size, embedding, bigrams)
        self.dropout = nn.Dropout(dropout)
        kind = CELLS[cell]
        width = self.embedding.width
        self.layers = nn.ModuleList()
        for _ in range(layers):
            self.layers.append(RecurrentLayer(kind, width, hidden, bidirectional=bidirectional))
            width = hidden * (2 if bidirectional else 1)
        self.head = nn.Linear(width, num_outputs(spec))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Map tokens to logits (B, classes), or (B, T, classes) of tags.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T) 1 = token, 0 = padding, at the end of a row; changes no logit of what is before it.
            token_type_ids: Not read: the second text of a pair follows the first.
        """
        lengths = attention_mask.sum(dim=1).clamp(min=1)  # (B,)
        features = self.dropout(self.embedding(input_ids, attention_mask))  # (B, T, D)
        for layer in self.layers:
            features = self.dropout(layer(features, lengths))  # (B, T, H or 2 H)
        if self.output == "classes":
            features = pool(features, lengths, self.pooling, backwards=self.layers[-1].backwards is not None)
        logits: Tensor = self.head(features)
        return logits

    def explain_tensors(self, tensors: Mapping[str, Tensor]) -> str:
        """Return why weights of another shape do not fit: another vocabulary."""
        name, own = "embedding.tokens.weight", self.embedding.tokens.weight
        return other_vocabulary(tensors[name], own) if name in tensors else ""

    def parts(self) -> Parts:
        """Return the parts: the embedding, each layer, the linear layer."""
        blocks = tuple((f"layers.{number}",) for number in range(len(self.layers)))
        return Parts(stem=("embedding",), blocks=blocks, head="head")


class RecurrentLayer(nn.Module):
    """One recurrent layer over rows padded at their end, in one direction or both."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], width: int, hidden: int, *, bidirectional: bool) -> None:
        """Build the layer.

        Args:
            kind: Kind of cell.
            width: Of what comes in.
            hidden: Of the state of each direction.
            bidirectional: Read the rows backwards too.
        """
        super().__init__()
        self.forwards = kind(width, hidden, batch_first=True)
        self.backwards = kind(width, hidden, batch_first=True) if bidirectional else None

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Return the states (B, T, H), or those of both directions (B, T, 2 H).

        Args:
            features: (B, T, D).
            lengths: (B,) tokens of each row.
        """
        states: Tensor = self.forwards(features)[0]
        if self.backwards is None:
            return states
        place = torch.arange(features.shape[1], device=features.device)[None]
        turned = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)[..., None]  # (B, T, 1)
        against: Tensor = self.backwards(features.gather(1, turned.expand_as(features)))[0]
        return torch.cat([states, against.gather(1, turned.expand_as(against))], dim=-1)
