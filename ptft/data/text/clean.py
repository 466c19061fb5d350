"""Texts made alike in what no reader sees, and exact copies taken out before anything is divided.

A split that puts copies on both sides measures memory: half of the lines of some published sets are copies of others.
"""

import dataclasses
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from ptft.data.text.rows import Rows, TextRows

Normalisation = Literal["nfc", "nfkc", "none"]
"""nfc: characters composed; nfkc: also full width, ligatures and the like as their plain forms; none: as they are."""
_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_SHOWN = 3
"""Places that a message shows."""


def normalised(text: str, form: Normalisation) -> str:
    """Return a text in one Unicode form, without control characters or white space around it, line breaks as \\n."""
    return plain(text, form).strip()


def plain(text: str, form: Normalisation) -> str:
    """Return a text, or a part of one, as `normalised` does, but with the white space around it."""
    text = _CONTROLS.sub("", _BREAKS.sub("\n", text))
    if form == "none" or text.isascii():
        return text
    return unicodedata.normalize("NFC" if form == "nfc" else "NFKC", text)


def cleaned(rows: TextRows, form: Normalisation) -> tuple[TextRows, list[str]]:
    """Return the rows that hold text, normalised, and what to know of it: how many were empty."""
    texts = [normalised(text, form) for text in rows.texts]
    pairs = [normalised(text, form) for text in rows.pairs] if rows.pairs is not None else None
    filled = np.array([bool(text) for text in texts], dtype=bool)
    if pairs is not None:
        filled &= np.array([bool(text) for text in pairs], dtype=bool)
    notes = []
    if not filled.all():
        empty = np.flatnonzero(~filled)
        notes.append(f"left out {_counted(len(empty), 'row', 'rows')} without text: {_shown(rows, empty)}")
    whole = dataclasses.replace(rows, texts=texts, pairs=pairs)
    return whole if filled.all() else whole.take(np.flatnonzero(filled)), notes


def copies(rows: TextRows, key: Callable[[int], object] | None = None) -> list[Rows]:
    """Return the rows with equal texts (and pairs), two or more in each, in rising order.

    Args:
        rows: The rows.
        key: What is compared of a row, by its number; None: its text and its pair.
    """
    groups: dict[object, list[int]] = defaultdict(list)
    for row in range(len(rows)):
        groups[key(row) if key is not None else text_key(rows, row)].append(row)
    return [np.array(group, dtype=np.int64) for group in groups.values() if len(group) > 1]


def text_key(rows: TextRows, row: int) -> object:
    """Return what makes two rows copies of each other: the text, and its pair."""
    return rows.texts[row] if rows.pairs is None else (rows.texts[row], rows.pairs[row])


def deduplicated(rows: TextRows, same: Sequence[Rows], *, drop_torn: bool) -> tuple[TextRows, list[str]]:
    """Return the rows without exact copies, and what to know of it.

    Of equal rows the first stays. Rows that are equal but for their labels are contradictions: with `drop_torn` none
    of them stays. Rows of different splits that the data give are never compared: see `shared`.

    Args:
        rows: The rows.
        same: What `copies` returns.
        drop_torn: Whether texts with several labels go.
    """
    keep = np.ones(len(rows), dtype=bool)
    copied: list[tuple[int, int]] = []
    torn: list[tuple[int, int]] = []
    texts_torn = 0
    for group in _within_splits(rows, same):
        first, labels = int(group[0]), [_label(rows, row) for row in group.tolist()]
        other = next((row for row, label in zip(group.tolist(), labels, strict=True) if label != labels[0]), None)
        if other is not None and drop_torn:
            keep[group] = False
            torn.append((first, other))
            texts_torn += len(group)
        else:
            keep[group[1:]] = False
            copied += [(row, first) for row in group[1:].tolist()]
    notes = []
    if copied:
        those, share = _counted(len(copied), "exact copy", "exact copies"), len(copied) / len(rows)
        notes.append(f"removed {those} of other rows ({share:.1%}): {_pairs(rows, copied)}")
    if torn:
        those = f"{_counted(len(torn), 'text', 'texts')} ({texts_torn:,} rows)"
        notes.append(f"left out {those} that stand there with several labels: {_pairs(rows, torn)}")
    return rows.take(np.flatnonzero(keep)) if not keep.all() else rows, notes


def _label(rows: TextRows, row: int) -> str:
    return repr(rows.labels[row]) if rows.labels is not None else ""


def _within_splits(rows: TextRows, same: Sequence[Rows]) -> list[Rows]:
    if rows.splits is None:
        return list(same)
    parts = []
    for group in same:
        by_split: dict[str, list[int]] = defaultdict(list)
        for row in group.tolist():
            by_split[rows.splits[row]].append(row)
        parts += [np.array(part, dtype=np.int64) for part in by_split.values() if len(part) > 1]
    return parts


def shared(rows: TextRows, same: Sequence[Rows], splits: Mapping[str, Rows]) -> list[str]:
    """Return a message for each two splits that share exact copies: what is measured on one of them is too good."""
    part = np.full(len(rows), -1, dtype=np.int64)
    for number, members in enumerate(splits.values()):
        part[members] = number
    names, messages = list(splits), []
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            found = [
                (int(group[part[group] == first][0]), int(group[part[group] == second][0]))
                for group in same
                if (part[group] == first).any() and (part[group] == second).any()
            ]
            if found:
                those = _counted(len(found), "text", "texts")
                messages.append(
                    f"{those} in both {names[first]} and {names[second]} as exact copies: "
                    f"{_pairs(rows, found)}; metrics on {names[second]} are too good"
                )
    return messages


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _shown(rows: TextRows, numbers: Rows) -> str:
    shown = "; ".join(rows.where(row) for row in numbers[:_SHOWN].tolist())
    return shown + (f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else "")


def _pairs(rows: TextRows, found: Sequence[tuple[int, int]]) -> str:
    shown = "; ".join(f"{rows.where(first)} = {rows.where(second)}" for first, second in found[:_SHOWN])
    return shown + (f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else "")
