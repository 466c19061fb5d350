"""Texts once they are set up: rows, labels, tokens and splits; and how they are divided."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ptft.data.listing import listed
from ptft.data.split import Split, divide
from ptft.data.split_groups import number_groups
from ptft.data.text.encoded import Encoded
from ptft.data.text.labels import Labels
from ptft.data.text.rows import Rows, TextRows
from ptft.errors import DataError


@dataclass(frozen=True)
class DividedTexts:
    """What is known of texts once they are set up.

    Attributes:
        rows: The rows.
        labels: Their labels.
        encoded: Their tokens.
        splits: The rows of `train` (after `label_fraction`), `val` and `test`.
        groups: The group of each row, empty where it has none; None: there are no groups.
    """

    rows: TextRows
    labels: Labels
    encoded: Encoded
    splits: dict[str, Rows]
    groups: tuple[str, ...] | None

    def unseen(self) -> list[str]:
        """Return a message for each split but train that lacks classes: nothing is measured on those."""
        messages = []
        for name in ("val", "test"):
            if lacking := _lacking(self.labels, self.splits[name]):
                messages.append(f"{name} holds no row of {listed(lacking)}: nothing is measured there")
        return messages


def divide_texts(
    rows: TextRows,
    labels: Labels,
    division: Split,
    *,
    together: Sequence[Rows] = (),
    groups: Sequence[str] | None = None,
    made: bool = False,
) -> dict[str, Rows]:
    """Return the rows of `train`, `val` and `test`.

    Args:
        rows: The rows, which may bring splits of their own.
        labels: Their labels.
        division: How to divide.
        together: Copies that stay in one split where ptft divides.
        groups: The group of each row, empty where it has none.
        made: Whether a model is there already: it learned its classes elsewhere.

    Raises:
        DataError: A split would be empty, or a class has no example in train.
    """
    given = None
    if rows.splits is not None:
        parts = np.array(rows.splits)
        given = {name: np.flatnonzero(parts == name) for name in ("train", "val", "test") if (parts == name).any()}
        if "train" not in given:
            raise DataError(f"no row belongs to train; there are {listed(given)}")
    splits = divide(labels.strata, division, given=given, groups=number_groups(groups, together, len(rows)))
    nowhere = set(_lacking(labels, np.arange(len(rows))))
    missing = [name for name in _lacking(labels, splits["train"]) if name not in nowhere]
    if missing and not made:
        raise DataError(
            f"train holds no row of {listed(missing)}, and a model cannot learn it: give more data, smaller groups, "
            "or data.split.stratify=true"
        )
    return splits


def _lacking(labels: Labels, rows: Rows) -> list[str]:
    """Return the classes that none of some rows belongs to."""
    counts = labels.counts(rows) or (1,) * len(labels.classes)
    return [name for name, count in zip(labels.classes, counts, strict=True) if not count]
