"""A convolutional network over tokens (Kim, arXiv 1408.5882): windows of several widths, the maximum of each filter.

Left out: its variants with two embeddings or vectors that stand still.
Legend: B batch, T tokens, D width, F filters of a width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.parts import Parts
from ptft.model.spec import ModelSpec, num_outputs, text_length
from ptft.model.text.embedding import TokenEmbedding
from ptft.model.text.tables import other_vocabulary
from ptft.types import DropRate, NonNegativeInt, PositiveInt


class TextCNN(nn.Module):
    """Maps tokens to logits of the text."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        embedding: PositiveInt = 128,
        bigrams: NonNegativeInt = 0,
        widths: tuple[PositiveInt, ...] = (3, 4, 5),
        filters: PositiveInt = 100,
        dropout: DropRate = 0.5,
    ) -> None:
        """Build the network; the defaults but for `embedding` are the paper's.

        Args:
            spec: What the data know, and what the task wants.
            embedding: Width of a token's vector.
            bigrams: Buckets of vectors for pairs of neighbouring tokens, as wide again; 0: none.
            widths: Tokens that a filter sees at once, one or more numbers.
            filters: Filters of each width.
            dropout: Before the linear layer.

        Raises:
            ConfigError: The task wants another output, the data are no texts, or no width is given.
        """
        super().__init__()
        text_length(spec)
        if spec.output != "classes":
            raise ConfigError(
                f"text/cnn gives classes, not the output `{spec.output}` that this task wants; choose another model="
            )
        if not widths:
            raise ConfigError("model.widths=[] leaves nothing to see with; the paper's are [3,4,5]")
        self.embedding = TokenEmbedding(spec.vocab_size, embedding, bigrams)
        self.convolutions = nn.ModuleList(nn.Conv1d(self.embedding.width, filters, width) for width in widths)
        self.widest = max(widths)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters * len(widths), num_outputs(spec))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Map tokens to logits (B, classes).

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T) 1 = token, 0 = padding, at the end of a row; changes no logit.
            token_type_ids: Not read: the second text of a pair follows the first.
        """
        features = self.embedding(input_ids, attention_mask)  # (B, T, D)
        features = nn.functional.pad(features, (0, 0, 0, self.widest - 1)).transpose(1, 2)  # (B, D, T + widest - 1)
        found = []
        for layer in self.convolutions:
            seen = layer(features).relu()[..., : input_ids.shape[1]]  # (B, F, T): windows that begin at a token
            found.append(seen.masked_fill(attention_mask[:, None] == 0, 0.0).amax(dim=2))
        logits: Tensor = self.head(self.dropout(torch.cat(found, dim=1)))
        return logits

    def explain_tensors(self, tensors: Mapping[str, Tensor]) -> str:
        """Return why weights of another shape do not fit: another vocabulary."""
        name, own = "embedding.tokens.weight", self.embedding.tokens.weight
        return other_vocabulary(tensors[name], own) if name in tensors else ""

    def parts(self) -> Parts:
        """Return the parts: the embedding, the filters of all widths as one block, the linear layer."""
        return Parts(stem=("embedding",), blocks=(("convolutions",),), head="head")
