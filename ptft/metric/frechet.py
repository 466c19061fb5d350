"""Frechet distance between two sets of vectors, each seen as a normal distribution (Dowson and Landau, 1982).

On the features of an Inception network it is called FID (arXiv 1706.08500). Here it is taken on pixels, averaged over
squares until a side is at most 16: that sees wrong brightness, shapes and variety of small images, not what they
mean, and it is no FID. It shrinks with more examples, so compare only values from equally many.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.metric.bootstrap import Interval, mean_intervals

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


class GanMetrics:
    """pixel_frechet_distance between real and made images, and how often the discriminator is right."""

    def __init__(self) -> None:
        """Start an evaluation."""
        self._real: list[Tensor] = []
        self._fake: list[Tensor] = []
        self._right: list[Tensor] = []

    def update(self, real: Tensor, fake: Tensor, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Take a batch in.

        Args:
            real: (B, C, H, W) in [0, 1].
            fake: (B, C, H, W) in [0, 1].
            real_logits: (B,) of the discriminator for the real images.
            fake_logits: (B,) of the discriminator for the made images.
        """
        self._real.append(pixel_features(real).cpu())
        self._fake.append(pixel_features(fake).cpu())
        self._right.append(((real_logits > 0).cpu().double() + (fake_logits <= 0).cpu().double()) / 2)

    def compute(self) -> dict[str, float]:
        """Return pixel_frechet_distance (0 and more, less is better) and discriminator_accuracy (0 to 1)."""
        return {
            "pixel_frechet_distance": frechet_distance(torch.cat(self._real), torch.cat(self._fake)),
            "discriminator_accuracy": float(torch.cat(self._right).mean()),
        }

    def intervals(self) -> dict[str, Interval]:
        """Return the 95% interval of discriminator_accuracy; drawing examples again would bias the distance."""
        return {"discriminator_accuracy": mean_intervals(torch.cat(self._right)[:, None])[0]}

    def table(self) -> list[dict[str, Any]]:
        """Return nothing: there are no classes."""
        return []
