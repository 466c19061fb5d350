"""Self-attention whose heads may be fewer than its width holds, in the place of torch's, which insists on all of them.

Legend: B batch, T tokens, D width, H heads, S size of a head.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """What `nn.MultiheadAttention` gives of one row of tokens, with H * S in the place of D between its projections."""

    def __init__(self, width: int, num_heads: int, head_size: int, dropout: float = 0.0) -> None:
        """Build the layer.

        Args:
            width: Of a token.
            num_heads: H.
            head_size: S.
            dropout: Of the attention, while training.
        """
        super().__init__()
        self.num_heads = num_heads
        self.head_size = head_size
        self.dropout = dropout
        self.in_proj = nn.Linear(width, 3 * num_heads * head_size)
        self.out_proj = nn.Linear(num_heads * head_size, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Map tokens (B, T, D) to tokens (B, T, D), and None where torch's would give its weights.

        Args:
            query: The tokens.
            key: The same tokens, as torch's layer is called.
            value: The same.
            need_weights: Not to be had.
        """
        assert query is key and key is value and not need_weights, "it attends to its own tokens only"
        heads = self.in_proj(query).unflatten(-1, (3, -1, self.head_size))  # (B, T, 3, H, S)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, T, S) each
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        tokens: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return tokens, None


def is_plain(module: nn.Module) -> bool:
    """Tell whether a module is torch's attention in a form that `SelfAttention` can take the place of."""
    return (
        isinstance(module, nn.MultiheadAttention)
        and module.batch_first
        and module.in_proj_bias is not None
        and module.in_proj_weight is not None
        and module.bias_k is None
        and not module.add_zero_attn
    )


def replace_attention(network: nn.Module, names: Sequence[str]) -> None:
    """Put a `SelfAttention` with the same weights in the place of each of torch's own, in place.

    Args:
        network: The network.
        names: Those to replace.

    Raises:
        TypeError: One is no attention of torch's, or of a form that has no counterpart.
    """
    for name in names:
        found = network.get_submodule(name)
        if not isinstance(found, nn.MultiheadAttention) or not is_plain(found):
            raise TypeError(f"{name} is {type(found).__name__}, not a plain attention of torch's")
        new = SelfAttention(found.embed_dim, found.num_heads, found.head_dim, found.dropout)
        weight = found.in_proj_weight
        new.to(device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            new.in_proj.weight.copy_(weight)
            new.in_proj.bias.copy_(found.in_proj_bias)
            new.out_proj.load_state_dict(found.out_proj.state_dict())
        for own, old in ((new.in_proj.weight, weight), (new.in_proj.bias, found.in_proj_bias)):
            own.requires_grad_(old.requires_grad)
        for own, old in zip(new.out_proj.parameters(), found.out_proj.parameters(), strict=True):
            own.requires_grad_(old.requires_grad)
        holder, _, last = name.rpartition(".")
        setattr(network.get_submodule(holder), last, new.train(found.training))
