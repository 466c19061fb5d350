"""What a person should know of a division: exact copies across splits or with several labels, groups cut in two."""

from collections.abc import Mapping, Sequence

import numpy as np

from ptft.data.image_arrays import Rows
from ptft.data.listing import Listing, listed, quoted

_PAIRS = 3
"""Pairs of names that a message shows."""


def overlaps(listing: Listing, copies: Sequence[Rows], groups: Rows | None, splits: Mapping[str, Rows]) -> list[str]:
    """Return a message for each two splits that share exact copies, and for groups that lie in several splits.

    Args:
        listing: The pictures.
        copies: Rows of equal pictures, in each two or more.
        groups: (N,) the group of each picture; None: each stands alone.
        splits: Rows of each split.
    """
    part = _numbers(splits, len(listing))
    names = list(splits)
    messages = []
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            pairs = [
                (int(rows[part[rows] == first][0]), int(rows[part[rows] == second][0]))
                for rows in copies
                if (part[rows] == first).any() and (part[rows] == second).any()
            ]
            if pairs:
                those = _counted(len(pairs), "lies", "lie")
                messages.append(
                    f"{those} in both {names[first]} and {names[second]} as exact copies: "
                    f"{_shown(listing, pairs)}; metrics on {names[second]} are too good"
                )
    return messages + _cut_groups(listing, groups, part, names)


def _cut_groups(listing: Listing, groups: Rows | None, part: Rows, names: Sequence[str]) -> list[str]:
    if groups is None:
        return []
    inside = np.flatnonzero(part >= 0)
    pairs = np.unique(np.stack([groups[inside], part[inside]]), axis=1)
    numbers, counts = np.unique(pairs[0], return_counts=True)
    cut = numbers[counts > 1]
    if not len(cut):
        return []
    rows = inside[groups[inside] == cut[0]]
    other = rows[part[rows] != part[rows[0]]][0]
    return [
        f"{len(cut):,} groups of data.split.group or of copies lie in several of the splits that the data give, as "
        f"{quoted(listing.paths[rows[0]])} in {names[part[rows[0]]]} and {quoted(listing.paths[other])} in "
        f"{names[part[other]]}"
    ]


def copy_notes(listing: Listing, copies: Sequence[Rows]) -> list[str]:
    """Return what to know of exact copies whatever the splits: how many there are, and those with several labels."""
    notes = []
    if copies:
        count = sum(len(rows) - 1 for rows in copies)
        pairs = [(int(rows[0]), int(rows[1])) for rows in copies]
        stay = "" if listing.splits is not None else "; copies stay in one split"
        those = _counted(count, "is an exact copy of another", "are exact copies of others")
        notes.append(f"{those}: {_shown(listing, pairs)}{stay}")
    torn = [rows for rows in copies if len(np.unique(listing.labels[rows])) > 1]
    if torn:
        pairs = []
        for rows in torn:
            other = rows[listing.labels[rows] != listing.labels[rows[0]]][0]
            pairs.append((int(rows[0]), int(other)))
        notes.append(f"{_counted(len(torn), 'has', 'have')} several labels, as exact copies: {_shown(listing, pairs)}")
    return notes


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} picture {one}" if count == 1 else f"{count:,} pictures {several}"


def unseen_classes(listing: Listing, splits: Mapping[str, Rows]) -> list[str]:
    """Return a message for each split but train that lacks classes: nothing is measured on those."""
    messages = []
    for name, rows in splits.items():
        lacking = np.setdiff1d(np.arange(len(listing.classes)), listing.labels[rows])
        if name != "train" and len(lacking):
            classes = listed(listing.classes[number] for number in lacking)
            messages.append(f"{name} holds no picture of {classes}: nothing is measured on {_them(len(lacking))}")
    return messages


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _numbers(splits: Mapping[str, Rows], size: int) -> Rows:
    """Return the number of each row's split, (size,); -1 for rows in none."""
    part = np.full(size, -1, dtype=np.int64)
    for number, rows in enumerate(splits.values()):
        part[rows] = number
    return part


def _shown(listing: Listing, pairs: Sequence[tuple[int, int]]) -> str:
    shown = [f"{quoted(listing.paths[first])} = {quoted(listing.paths[second])}" for first, second in pairs[:_PAIRS]]
    return ", ".join(shown) + (f" and {len(pairs) - _PAIRS:,} more" if len(pairs) > _PAIRS else "")
