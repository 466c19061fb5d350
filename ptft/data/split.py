"""Splits of a data set: seeded, stratified, the same on every machine, and never dependent on the engine's seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ptft.data.nested import nested
from ptft.data.split_groups import draw_groups
from ptft.errors import ConfigError, DataError
from ptft.runtime.random import permute, seed_for
from ptft.types import NonNegativeInt, ProperShare

Rows = npt.NDArray[np.int64]
"""Numbers of examples, or of classes."""
_TEST, _VAL, _LABELS, _SAMPLE = 0, 1, 2, 3  # what is drawn; each draw is independent of the others


@dataclass(frozen=True, kw_only=True)
class Split:
    """How a data set is divided.

    Attributes:
        seed: Seed of the division.
        val: Share of the examples for validation, above 0 and below 1.
        test: Share of the examples for the test; without meaning where the data come with a test set of their own.
        stratify: Give each split the same share of each class, to within one example.
        group: What may not be divided between splits (see `split_groups.py`): the column of a csv, or a regular
            expression over the names of files; None: each example stands alone.
    """

    seed: NonNegativeInt = 0
    val: ProperShare = 0.1
    test: ProperShare = 0.1
    stratify: bool = True
    group: str | None = None

    @classmethod
    def of(cls, values: "Split | Mapping[str, Any] | None") -> "Split":
        """Return a split from the mapping `data.split` of a config; None gives the default.

        Raises:
            ConfigError: A key is unknown, or a value is of the wrong type or out of range.
        """
        split = nested(cls, values, "data.split")
        if isinstance(split.seed, bool) or not isinstance(split.seed, int) or split.seed < 0:
            raise ConfigError(f"data.split.seed takes a whole number >= 0, found `{split.seed}`")
        for key in ("val", "test"):
            share = getattr(split, key)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
                raise ConfigError(f"data.split.{key} takes a share above 0 and below 1, found `{share}`")
        if not isinstance(split.stratify, bool):
            raise ConfigError(f"data.split.stratify takes true or false, found `{split.stratify}`")
        if split.group is not None and (not isinstance(split.group, str) or not split.group):
            raise ConfigError(f"data.split.group takes a column or a regular expression, found `{split.group}`")
        if split.val + split.test >= 1:
            raise ConfigError(f"data.split.val={split.val} and test={split.test} leave nothing to train on")
        return split


def divide(
    labels: Rows,
    split: Split,
    *,
    num_test: int = 0,
    given: Mapping[str, Rows] | None = None,
    groups: Rows | None = None,
) -> dict[str, Rows]:
    """Return the rows of `train`, `val` and `test`, each in rising order.

    Args:
        labels: (N,) class numbers.
        split: How to divide.
        num_test: Examples at the end that are the data's own test set; 0: a test split is taken from the others.
        given: Splits that come with the data, `train` among them; the others, if missing, are taken from it.
        groups: (N,) numbers of what stays together; None: each example stands alone.

    Raises:
        DataError: A split would be empty.
    """
    splits = {name: rows for name, rows in (given or {}).items() if name != "train"}
    if num_test:
        splits["test"] = np.arange(len(labels) - num_test, len(labels))
    for name, rows in (given or {}).items():
        if not len(rows):
            raise DataError(f"the data's own {name} split holds no example that can be read")
    rest = given["train"] if given is not None else np.arange(len(labels) - num_test)
    total = len(rest)
    if "test" not in splits:
        splits["test"] = _pick(labels, rest, split.test, split, _TEST, groups)
        rest = np.setdiff1d(rest, splits["test"])
    if "val" not in splits:
        # Shares are of all the examples divided, so that val=0.1, test=0.1 takes a tenth for each.
        share = split.val * total / max(1, len(rest))
        splits["val"] = _pick(labels, rest, min(1.0, share), split, _VAL, groups)
        rest = np.setdiff1d(rest, splits["val"])
    return {"train": rest, "val": splits["val"], "test": splits["test"]}


def _pick(labels: Rows, rows: Rows, share: float, split: Split, purpose: int, groups: Rows | None) -> Rows:
    count = round(share * len(rows))
    name = "test" if purpose == _TEST else "val"
    if not 0 < count < len(rows):
        raise DataError(
            f"data.split.{name} takes {count} of {len(rows)} examples, and each split needs at least one; "
            f"give more data or another data.split.{name}"
        )
    classes = labels[rows] if split.stratify else np.zeros_like(rows)
    seed = seed_for(split.seed, purpose)
    if groups is None:
        return rows[_draw(classes, count, 0, seed)]
    taken = draw_groups(classes, groups[rows], count, seed)
    if not len(taken):
        raise DataError(
            f"data.split.{name} finds nothing to take: the {len(rows)} examples left make one group, and groups "
            "(of data.split.group, and of exact copies) stay together; give more data or another data.split.group"
        )
    return rows[taken]


def sample_rows(rows: Rows, most: int, split: Split) -> Rows:
    """Return at most so many of some rows, in rising order, the same for the same split.seed."""
    if len(rows) <= most:
        return rows
    return np.sort(rows[permute(torch.arange(most), len(rows), seed_for(split.seed, _SAMPLE), 0).numpy()])


def keep_labels(labels: Rows, rows: Rows, fraction: float, split: Split) -> Rows:
    """Return the rows that keep their labels: a stratified share of a training split, the same for the same split.seed.

    round(fraction * len(rows)) are kept, but at least one of each class; classes share that number in proportion to
    their sizes by largest remainders. So the count wanted divided by the size of the training split, written with four
    significant digits, gives the count itself: 0.02088 of the 1,437 training digits is 30, three a class, and 0.01111
    of 54,000 is 600. A larger fraction does not always contain a smaller one's rows of every class, but nearly so.
    """
    if fraction == 1:
        return rows
    return rows[_draw(labels[rows], round(fraction * len(rows)), 1, seed_for(split.seed, _LABELS))]


def _draw(classes: Rows, count: int, least: int, seed: int) -> Rows:
    """Return the sorted places of `count` things drawn in proportion to their classes, at least `least` of each."""
    numbers, sizes = np.unique(classes, return_counts=True)
    quota = sizes * (count / len(classes))
    shares = np.maximum(np.floor(quota).astype(np.int64), least)
    # Largest remainder first; the lower class number where two are equal.
    order = np.argsort(np.floor(quota) - quota, kind="stable")
    shares[order[: max(0, count - int(shares.sum()))]] += 1
    taken = []
    for number, size, share in zip(numbers.tolist(), sizes.tolist(), shares.tolist(), strict=True):
        drawn = permute(torch.arange(share), size, seed, number)
        taken.append(np.flatnonzero(classes == number)[drawn.numpy()])
    return np.sort(np.concatenate(taken))


def class_counts(labels: Rows, num_classes: int) -> tuple[int, ...]:
    """Return how many of some labels belong to each class; labels below 0 mean that there is none."""
    return tuple(np.bincount(labels[labels >= 0], minlength=num_classes).tolist()) if num_classes else ()
