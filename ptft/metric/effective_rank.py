"""Effective rank of features: a measure that needs no labels and shows collapse (RankMe, arXiv 2210.02885)."""

import torch
from torch import Tensor

MAX_EXAMPLES = 1_024
"""Examples looked at, the first of an evaluation: bounds memory and time. The paper takes 25,600."""


def effective_rank(features: Tensor) -> float:
    """Return exp(entropy of the singular values, as shares of their sum): 1 for one direction, D for D equal ones.

    Args:
        features: (N, D), not centred, as in the paper; the first MAX_EXAMPLES rows count.
    """
    rows = features[:MAX_EXAMPLES].double()
    if not bool(torch.isfinite(rows).all()):
        return float("nan")
    gram = rows.T @ rows if rows.shape[1] < rows.shape[0] else rows @ rows.T  # the smaller; same eigenvalues
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    shares = singular / singular.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return float(torch.special.entr(shares).sum().exp())
