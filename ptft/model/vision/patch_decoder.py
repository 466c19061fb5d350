"""The light decoder of a masked autoencoder (arXiv 2111.06377): pixels of hidden patches from the tokens of seen ones.

Layers are torchvision's, as the encoder's. Legend: B batch, N patches, M seen, K hidden, D width of the encoder, E that
of the decoder, Q numbers of a patch.
"""

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import EncoderBlock

from ptft.errors import ConfigError
from ptft.model.vision.attention import attention_for
from ptft.model.vision.patches import sine_positions


class PatchDecoder(nn.Module):
    """A few transformer layers over seen tokens and one learned token that stands for every hidden patch."""

    positions: Tensor

    def __init__(
        self, grid: tuple[int, int], features: int, outputs: int, *, width: int, depth: int, heads: int
    ) -> None:
        """Build it; linear layers Xavier uniform, the mask token N(0, 0.02), positions are fixed sines.

        Args:
            grid: Patches below and beside each other.
            features: Width of the encoder's tokens.
            outputs: Numbers of a patch.
            width: Width of the decoder's tokens.
            depth: Its layers.
            heads: Attention heads of a layer; divides `width`.

        Raises:
            ConfigError: `heads` does not divide `width`.
        """
        super().__init__()
        if width % heads:
            raise ConfigError(f"task.decoder_width={width} is not divisible by task.decoder_heads={heads}")
        self.embed = nn.Linear(features, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.Sequential(*(EncoderBlock(heads, width, 4 * width, 0.0, 0.0) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.Linear(width, outputs)
        # Fixed, so not saved with the weights.
        self.register_buffer("positions", sine_positions(*grid, width), persistent=False)
        for layer in (self.embed, self.predict):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, encoded: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        """Predict the hidden patches.

        Args:
            encoded: The encoder's tokens, the class token first: (B, 1 + M, D).
            seen: Numbers of the patches behind the others: (B, M) int64.
            hidden: Numbers of the patches to predict: (B, K) int64.

        Returns:
            (B, K, Q).
        """
        tokens = self.embed(encoded)  # (B, 1 + M, E)
        positions = self.positions.to(tokens.dtype)
        masks = self.mask_token.to(tokens.dtype) + positions[hidden]  # (B, K, E)
        # Attention knows no order: the tokens may stand as they come, each with its position.
        row = torch.cat([tokens[:, :1], tokens[:, 1:] + positions[seen], masks], dim=1)  # (B, 1 + N, E)
        with attention_for(row.shape[1], row.device.type):
            decoded = self.layers(row)[:, 1 + seen.shape[1] :]  # (B, K, E)
        predicted: Tensor = self.predict(self.norm(decoded))
        return predicted
