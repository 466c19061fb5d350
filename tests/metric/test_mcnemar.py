"""McNemar's exact test against scipy's binomial test."""

import pytest
import torch
from scipy.stats import binomtest

from ptft.metric.mcnemar import PairedCounts, exact_p_value


@pytest.mark.parametrize("split", [(0, 1), (3, 12), (12, 3), (7, 7), (0, 30), (480, 560), (5_000, 5_400)])
def test_the_p_value_is_that_of_the_exact_binomial_test(split):
    assert exact_p_value(*split) == pytest.approx(binomtest(split[0], sum(split), 0.5).pvalue, rel=1e-9)


def test_sides_that_never_differ_are_not_told_apart():
    assert exact_p_value(0, 0) == 1.0


def test_examples_are_counted_by_who_was_right():
    first = torch.tensor([True, True, True, False, False, False])
    second = torch.tensor([True, False, False, True, False, False])
    found = PairedCounts.of(first, second)
    assert found == PairedCounts(both=1, only_first=2, only_second=1, neither=2)
    assert found.p_value == pytest.approx(binomtest(1, 3, 0.5).pvalue)


def test_sides_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="found 2 and 3"):
        PairedCounts.of(torch.ones(2).bool(), torch.ones(3).bool())
