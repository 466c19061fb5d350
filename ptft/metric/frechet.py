"""Frechet distance between two sets of vectors, each seen as a normal distribution (Dowson and Landau, 1982).

On the features of an Inception network it is called FID (arXiv 1706.08500). Here it is taken on pixels, averaged over
squares until a side is at most 16: that sees wrong brightness, shapes and variety of small images, not what they
mean, and it is no FID. It shrinks with more examples, so compare only values from equally many.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.metric.bootstrap import Interval

MAX_SIDE = 16


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the means and covariances of two sets.

    It is not a number where a set has fewer than two vectors, or one that is not finite.

    Args:
        first: (N, D).
        second: (M, D).
    """
    first, second = first.cpu().double(), second.cpu().double()
    finite = bool(torch.isfinite(first).all() and torch.isfinite(second).all())
    if not finite or min(len(first), len(second)) < 2:
        return float("nan")
    covariances = first.T.cov().reshape(first.shape[1], -1), second.T.cov().reshape(first.shape[1], -1)
    values, vectors = torch.linalg.eigh(covariances[0])
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # S1 S2 has the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2).
    cross = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp(min=0).sqrt().sum()
    means = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    return float((means + covariances[0].trace() + covariances[1].trace() - 2 * cross).clamp(min=0))


def pixel_features(image: Tensor) -> Tensor:
    """Return pixels as vectors (B, D) float32, averaged over squares until a side is at most 16.

    Args:
        image: (B, C, H, W).
    """
    square = -(-max(image.shape[-2:]) // MAX_SIDE)
    return F.avg_pool2d(image.float(), square, ceil_mode=True).flatten(1)


class FrechetMetrics:
    """pixel_frechet_distance between real and made images."""

    def __init__(self) -> None:
        """Start an evaluation."""
        self._real: list[Tensor] = []
        self._fake: list[Tensor] = []

    def update(self, real: Tensor, fake: Tensor) -> None:
        """Take images in.

        Args:
            real: (B, C, H, W) in [0, 1].
            fake: (B, C, H, W) in [0, 1].
        """
        self._real.append(pixel_features(real).cpu())
        self._fake.append(pixel_features(fake).cpu())

    def compute(self) -> dict[str, float]:
        """Return pixel_frechet_distance: 0 and more, less is better."""
        return {"pixel_frechet_distance": frechet_distance(torch.cat(self._real), torch.cat(self._fake))}

    def intervals(self) -> dict[str, Interval]:
        """Return nothing: drawing examples again makes the sets less varied, which biases the distance."""
        return {}

    def table(self) -> list[dict[str, Any]]:
        """Return nothing: there are no classes."""
        return []
