"""Which way of working attention out is quickest for rows of tokens: a rule on what is known before the first step.

Training steps on one core with AMX, plain matrix products (eager) against torch's fused attention (sdpa), CPU time:

    network, rows               dropout   fp32   bf16
    BERT 4 x 256, 32 x 64       0         1.01   0.69
    GPT 4 x 128, 12 x 64        0         1.06   0.70
    MiniLM 6 x 384, 16 x 128    0         1.06   0.68
    MiniLM 6 x 384, 16 x 128    0.1       0.97   0.79 to 0.89
    BERT 4 x 256, 32 x 128      0.1       1.00   0.82 to 0.88
    BERT 4 x 256, 8 x 256       0         1.10   0.98
    BERT 4 x 256, 8 x 256       0.1       0.99   0.83
    BERT 4 x 256, 8 x 512       0         1.35   1.15
    BERT 4 x 256, 8 x 512       0.1       1.02   0.82
    GPT 4 x 128, 2 x 1024       0         2.86   2.71

With dropout sdpa is not fused on a CPU and does the same work in more steps; without, it is, but multiplies in fp32.
"""

from typing import Literal

SHORT = 256
"""Tokens of a row up to which eager attention in bf16 is as quick as the fused one, without dropout."""


def quickest_attention(device: str, precision: str, *, num_tokens: int, dropout: float) -> Literal["eager", "sdpa"]:
    """Return `eager` or `sdpa`.

    Args:
        device: Kind of device.
        precision: Number type of the forward pass.
        num_tokens: Of a row, at most.
        dropout: Of the attention, while training.
    """
    if device != "cpu":
        return "sdpa"
    return "eager" if dropout > 0 or (precision != "fp32" and num_tokens <= SHORT) else "sdpa"
