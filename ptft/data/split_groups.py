"""Groups of examples that no split may divide: variants of one thing, pictures of one person, copies of one file."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from ptft.data.listing import composed, listed, quoted
from ptft.errors import ConfigError
from ptft.runtime.random import permute

Rows = npt.NDArray[np.int64]
"""Numbers of examples, of classes, or of groups."""


def group_names(group: str, paths: Sequence[str], columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the group of each example as `data.split.group` says; an empty text is a group of its own.

    Args:
        group: The name of a column, or else a regular expression searched for in the names: its first group, or all
            that it matched, names the example's group. No match: a group of its own.
        paths: Names of the files, with `/`.
        columns: Further columns of the data.

    Raises:
        ConfigError: It is no regular expression, or matches no name.
    """
    if group in columns:
        return tuple(columns[group])
    known = f" The columns are {listed(columns)}." if columns else ""
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise ConfigError(
            f"data.split.group={group}: this is neither a column nor a regular expression: {error}.{known}"
        ) from None
    names = tuple(_first_group(pattern.search(composed(path))) for path in paths)
    if not any(names):
        raise ConfigError(
            f"data.split.group={group}: this is no column, and as a regular expression it matches none of the "
            f"{len(paths):,} names, such as {quoted(paths[0])}.{known}"
        )
    return names


def _first_group(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    return (match[1] if match.re.groups else match[0]) or ""


def number_groups(names: Sequence[str] | None, together: Sequence[Rows], size: int) -> Rows | None:
    """Return the number of each example's group, (size,) int64; None if each would stand alone.

    Args:
        names: The group of each example, empty where it has none; None: no example has one.
        together: Rows that belong together in any case, with the groups that they are in.
        size: How many examples there are.
    """
    if not any(names or ()) and not together:
        return None
    leader = np.arange(size)
    first: dict[str, int] = {}
    for row, name in enumerate(names or ()):
        if name:
            leader[row] = first.setdefault(name, row)

    def root(row: int) -> int:
        while leader[row] != row:
            leader[row] = leader[leader[row]]
            row = int(leader[row])
        return row

    for rows in together:
        roots = sorted({root(row) for row in rows.tolist()})
        leader[roots] = roots[0]
    numbers = np.array([root(row) for row in range(size)], dtype=np.int64)
    return numbers if len(np.unique(numbers)) < size else None


def draw_groups(classes: Rows, groups: Rows, count: int, seed: int) -> Rows:
    """Return the sorted places of about `count` things: whole groups, drawn in proportion to their classes.

    A group counts for the class that most of its members have, the lowest number where several do. In each class the
    groups stand in the order of a keyed permutation and are taken while they bring the class nearer to its share; what
    a class falls short or over is made up by the next, as far as its own groups allow. The last group of a class is
    never taken, so that each class keeps something to train on. If all groups are too large for their shares, the
    smallest one is taken.

    Args:
        classes: (N,) class numbers.
        groups: (N,) group numbers.
        count: How many things to take, about.
        seed: Seed of the order.

    Returns:
        Nothing only if there are fewer than two groups.
    """
    _, members = np.unique(groups, return_inverse=True)  # (N,) groups from 0 on, in the order of their numbers
    sizes = np.bincount(members)
    majority = _majority(classes, members, len(sizes))
    taken = np.zeros(len(sizes), dtype=bool)
    carried = 0.0
    for number in np.unique(majority).tolist():
        own = np.flatnonzero(majority == number)
        own = own[permute(torch.arange(len(own)), len(own), seed, number).numpy()]
        largest = float(sizes[own].max())
        wanted = count * float(sizes[own].sum()) / len(classes) + max(-largest, min(largest, carried))
        have, left = 0, len(own)
        for group in own:
            if left > 1 and abs(have + sizes[group] - wanted) < abs(have - wanted):
                taken[group], have, left = True, have + int(sizes[group]), left - 1
        carried = wanted - have
    if not taken.any() and len(sizes) > 1:
        taken[np.argmin(sizes)] = True
    return np.flatnonzero(taken[members])


def _majority(classes: Rows, members: Rows, num_groups: int) -> Rows:
    """Return the most frequent class of each group, (num_groups,)."""
    known, places = np.unique(classes, return_inverse=True)
    pairs, counts = np.unique(members * len(known) + places, return_counts=True)
    # By group, then the largest count; the sort is stable, so the lower class comes first where two are equal.
    order = np.lexsort((-counts, pairs // len(known)))
    _, first = np.unique(pairs[order] // len(known), return_index=True)
    result: Rows = known[pairs[order][first] % len(known)]
    assert len(result) == num_groups
    return result
