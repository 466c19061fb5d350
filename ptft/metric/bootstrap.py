"""Bootstrap intervals (Efron, 1979): how far a metric moves when the examples are drawn again with replacement.

The 2.5% and 97.5% percentiles over 1,000 draws from a fixed seed, so that the same evaluation gives the same interval.
They tell the chance in the choice of test examples, not that of training again. A metric at its bound (all right, all
wrong) gets an interval of width zero: that is how the bootstrap behaves, not certainty.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

NUM_RESAMPLES = 1_000
SEED = 20_111
BLOCK_NUMBERS = 2_000_000
"""Numbers drawn at a time: bounds the memory to some tens of MB."""

Interval = tuple[float, float]


def percentiles(draws: Tensor) -> Interval:
    """Return the 2.5% and 97.5% percentiles of the values a metric took over the resamples.

    Args:
        draws: (R,) one value for each resample.
    """
    if not bool(torch.isfinite(draws).all()):
        return float("nan"), float("nan")
    low, high = torch.quantile(draws.double(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def mean_intervals(values: Tensor) -> list[Interval]:
    """Return the 95% interval of the mean of each column; all columns see the same resamples.

    Args:
        values: (N, K) K values of each of N examples.
    """
    num_examples = values.shape[0]
    values = values.double()
    generator = torch.Generator().manual_seed(SEED)
    block = max(1, BLOCK_NUMBERS // (num_examples * values.shape[1]))
    means = []
    for start in range(0, NUM_RESAMPLES, block):
        rows = min(block, NUM_RESAMPLES - start)
        drawn = torch.randint(num_examples, (rows, num_examples), generator=generator)
        means.append(values[drawn].mean(dim=1))  # (rows, N, K) -> (rows, K)
    return [percentiles(column) for column in torch.cat(means).unbind(dim=1)]


def sum_intervals(values: Tensor, metrics: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, Interval]:
    """Return the 95% interval of metrics that depend on the examples through sums: ratios of them, an F1.

    Args:
        values: (N, K) K values of each of N examples.
        metrics: Takes sums over drawn examples (R, K) and returns each metric as (R,).
    """
    num_examples = values.shape[0]
    values = values.double()
    generator = torch.Generator().manual_seed(SEED)
    block = max(1, BLOCK_NUMBERS // (num_examples * values.shape[1]))
    draws: dict[str, list[Tensor]] = {}
    for start in range(0, NUM_RESAMPLES, block):
        rows = min(block, NUM_RESAMPLES - start)
        drawn = torch.randint(num_examples, (rows, num_examples), generator=generator)
        for name, metric in metrics(values[drawn].sum(dim=1)).items():  # (rows, N, K) -> (rows, K)
            draws.setdefault(name, []).append(metric)
    return {name: percentiles(torch.cat(found)) for name, found in draws.items()}


def paired_difference(first: Tensor, second: Tensor) -> tuple[float, float, float]:
    """Return the mean of `second - first` and its 95% interval, for two systems judged on the same examples.

    The differences are taken example by example and those are drawn again, so what both find hard does not blur them.

    Args:
        first: (N,) what the first system got on each example: 1 for right and 0 for wrong, a loss ...
        second: (N,) the same of the second.

    Raises:
        ValueError: They are not of one shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"expected as many values on both sides, found {len(first)} and {len(second)}")
    differences = second.double() - first.double()
    return float(differences.mean()), *mean_intervals(differences[:, None])[0]


def cell_intervals(counts: Tensor, metrics: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, Interval]:
    """Return the 95% interval of metrics that depend on the examples only through counts of cells.

    Drawing N examples with replacement and counting them is drawing the counts from a multinomial distribution, which
    is exact and takes no time in N.

    Args:
        counts: (K,) int64, examples in each cell of a confusion matrix; empty cells may be left out.
        metrics: Takes counts (R, K) and returns each metric as (R,).
    """
    generator = np.random.default_rng(SEED)
    total = int(counts.sum())
    shares = (counts.double() / total).numpy()
    block = max(1, BLOCK_NUMBERS // len(shares))
    draws: dict[str, list[Tensor]] = {}
    for start in range(0, NUM_RESAMPLES, block):
        drawn = generator.multinomial(total, shares, size=min(block, NUM_RESAMPLES - start))
        for name, values in metrics(torch.from_numpy(drawn)).items():
            draws.setdefault(name, []).append(values)
    return {name: percentiles(torch.cat(values)) for name, values in draws.items()}
