"""A division in the order of the examples: the first are trained on, the last tested, as with news of a month.

Neighbours in a text speak of the same people and places; a random division puts them on both sides.
"""

from collections.abc import Mapping

import numpy as np

from ptft.data.split import Split
from ptft.data.text.rows import Rows
from ptft.errors import DataError


def divide_in_order(
    size: int, split: Split, given: Mapping[str, Rows] | None = None, groups: Rows | None = None
) -> dict[str, Rows]:
    """Return the rows of `train`, `val` and `test`: contiguous parts in this order, each in rising order.

    Args:
        size: How many examples there are.
        split: The shares of val and test; a seed has no meaning here.
        given: Splits that come with the data, `train` among them; the others, if missing, are its end.
        groups: (N,) numbers of what stays together, at the place of its first example; None: each stands alone.

    Raises:
        DataError: A split would be empty.
    """
    given = given or {"train": np.arange(size)}
    rest = given["train"]
    leader = np.arange(size) if groups is None else groups
    _, first, group = np.unique(leader[rest], return_index=True, return_inverse=True)
    order = np.argsort(first[group], kind="stable")  # each group where its first example stands
    rest, begins = rest[order], first[group][order]
    splits, total, end = dict(given), len(rest), len(rest)
    for name, share in (("test", split.test), ("val", split.val)):
        if name in given:
            continue
        cut = end - round(share * total)
        while 0 < cut < end and begins[cut] == begins[cut - 1]:
            cut -= 1  # not through a group
        if not 0 < cut < end:
            raise DataError(
                f"data.split.{name}={share:g} of {total:,} examples in their order leaves a split empty, as groups "
                "stay whole; give more data or another share"
            )
        splits[name], end = np.sort(rest[cut:end]), cut
    splits["train"] = np.sort(rest[:end])
    return {name: splits[name] for name in ("train", "val", "test")}
