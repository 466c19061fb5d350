"""Knowledge distillation as sums over the batch: of logits, of hidden states, of what attention relates.

Logits: Hinton, Vinyals and Dean, arXiv 1503.02531. Hidden states: arXiv 1908.09355 (PKD), arXiv 1909.10351 (TinyBERT).
Relations: arXiv 2012.15828 (MiniLMv2). All of them compare without weights of their own, so that nothing is left behind
in a checkpoint, and are exactly 0, with gradients of exactly 0, where student and teacher agree.

Legend: B batch, T tokens, D width, H relation heads.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from ptft.loss.cast import at_least_float32


def distillation_sum(
    logits: Tensor, teacher_logits: Tensor, temperature: float, allowed: Tensor | None = None
) -> Tensor:
    """Return T^2 * KL(teacher || student) of the softened distributions over the last dimension, summed over the rest.

    T^2 keeps the size of the gradient the same at any temperature (section 2 of the paper).

    Args:
        logits: (..., C) of the student.
        teacher_logits: (..., C) of the teacher; no gradient flows into them.
        temperature: T, what logits are divided by before softmax.
        allowed: (..., C) bool, what the distributions are over, one at least; None: all.
    """
    student, teacher = (at_least_float32(values).div(temperature) for values in (logits, teacher_logits.detach()))
    return _divergence(student, teacher, allowed).sum() * temperature**2


def binary_distillation_sum(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T^2 * KL(teacher || student) of a softened yes or no for each logit, summed.

    Args:
        logits: (B, C) of the student.
        teacher_logits: (B, C) of the teacher; no gradient flows into them.
        temperature: T, what logits are divided by before the sigmoid.
    """
    student, teacher = (at_least_float32(values).div(temperature) for values in (logits, teacher_logits.detach()))
    target = teacher.sigmoid()
    cross, own = (F.binary_cross_entropy_with_logits(values, target, reduction="none") for values in (student, teacher))
    return (cross - own).sum() * temperature**2


def state_distance_sum(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """Return how far hidden states are apart: a mean over the real tokens of each example, summed over the examples.

    States of one width are compared directly, scaled to length 1 (PKD, equation 7). Those of different widths are
    compared by how like the tokens of an example are to each other: the squared differences of their cosines.

    Args:
        student: (B, T, D).
        teacher: (B, T, D'); no gradient flows into it.
        real: (B, T) bool, which tokens are no padding.
    """
    own, given = (F.normalize(at_least_float32(states), dim=-1) for states in (student, teacher.detach()))
    if own.shape[-1] == given.shape[-1]:
        distance = (own - given).square().sum(dim=-1)  # (B, T)
    else:
        difference = (own @ own.mT - given @ given.mT).square()  # (B, T, T)
        distance = (difference * real[:, None]).sum(dim=-1) / real.sum(dim=1, keepdim=True).clamp(min=1)
    return _mean_of_tokens(distance, real).sum()


def relation_sum(student: Tensor, teacher: Tensor, related: Tensor, heads: int) -> Tensor:
    """Return KL(teacher || student) of how tokens relate, a mean over tokens and heads, summed over the examples.

    A token's relation to the others is the softmax of its scaled products with them (MiniLMv2, equation 3): of queries
    with queries, say. Widths and attention heads may differ: vectors are cut anew into so many relation heads.

    Args:
        student: (B, T, D) queries, keys or values of all heads side by side.
        teacher: (B, T, D'); no gradient flows into it.
        related: (B, T, T) bool, which tokens are compared; a real token with itself always.
        heads: Relation heads; divide both widths.
    """
    real = related.diagonal(dim1=1, dim2=2)  # (B, T)
    allowed = related.clone()
    allowed.diagonal(dim1=1, dim2=2).fill_(True)  # padding too is related to something
    own, given = (_relations(vectors, heads) for vectors in (student, teacher.detach()))
    return _mean_of_tokens(_divergence(own, given, allowed[:, None]).mean(dim=1), real).sum()


def relation_heads(width: int, other: int, most: int = 12) -> int:
    """Return into how many heads, `most` at most, vectors of both widths can be cut."""
    return max(heads for heads in range(1, most + 1) if width % heads == 0 and other % heads == 0)


def _divergence(student: Tensor, teacher: Tensor, allowed: Tensor | None) -> Tensor:
    """Return KL(teacher || student) of softmax over the last dimension, (...).

    Written by logsumexp, as a chain of log_softmax leaves a rounding error in the gradient of equal distributions.
    """
    difference = teacher - student
    if allowed is not None:
        difference = difference.masked_fill(~allowed, 0.0)
        student, teacher = (scores.masked_fill(~allowed, -float("inf")) for scores in (student, teacher))
    total = teacher.logsumexp(dim=-1, keepdim=True)
    expected = ((teacher - total).exp() * difference).sum(dim=-1)
    return expected + student.logsumexp(dim=-1) - total.squeeze(-1)


def _relations(vectors: Tensor, heads: int) -> Tensor:
    """Return the scaled products of vectors (B, T, D) with each other, (B, H, T, T)."""
    size, length, width = vectors.shape
    cut = at_least_float32(vectors).reshape(size, length, heads, width // heads).transpose(1, 2)  # (B, H, T, D / H)
    return cut @ cut.mT / math.sqrt(width // heads)


def _mean_of_tokens(values: Tensor, real: Tensor) -> Tensor:
    """Return the mean of (B, T) over the real tokens of each example, (B,); 0 where there are none."""
    return (values * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
