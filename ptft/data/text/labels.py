"""Labels of texts: from what a source says of a row to numbers that a loss can read."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ptft.data.listing import check_class_names, composed, listed, quoted
from ptft.data.split import class_counts
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.rows import Rows, TextRows
from ptft.errors import DataError

Target = Literal["class", "labels", "value", "tokens"]
"""What is learned of a text: one of the classes, any number of them, a number; tokens: the text itself, no label."""
_MANY = 50
"""Classes from which on a class for every second row is taken for a mistake."""
_QUANTILES = 10
"""Classes of about the same size that numbers are stratified by."""


@dataclass(frozen=True)
class Labels:
    """Labels as numbers.

    Attributes:
        classes: Names of the classes; empty: there are none.
        values: (N,) int64 class numbers, (N, classes) float32 of 0 and 1, or (N,) float32; None: no labels.
        strata: (N,) int64, what a division is stratified by.
    """

    classes: tuple[str, ...]
    values: npt.NDArray[Any] | None
    strata: Rows

    def counts(self, rows: Rows) -> tuple[int, ...]:
        """Return how many of some rows belong to each class; empty without classes."""
        if self.values is None or not self.classes:
            return ()
        if self.values.ndim == 2:
            return tuple(int(count) for count in self.values[rows].sum(0))
        return class_counts(self.values[rows], len(self.classes))

    def moments(self, rows: Rows) -> tuple[float, float]:
        """Return mean and standard deviation of the values of some rows; 0 and 1 where labels are no values."""
        if self.values is None or self.classes or self.values.ndim != 1:
            return 0.0, 1.0
        values = self.values[rows].astype(np.float64)
        return float(values.mean()), float(values.std()) or 1.0

    def __len__(self) -> int:
        return len(self.strata)


# ---- Read: each row's label is what its target says, or the row is bad ----------------------------------------------


def read_labels(rows: TextRows, target: Target, bad: BadRows, separator: str = "|") -> TextRows:
    """Return the rows whose label can be read, each as a name, a sorted tuple of names, or a number.

    Raises:
        DataError: A label cannot be read and no row may be left out, or there are no labels.
    """
    if rows.labels is None:
        if target != "tokens":
            raise DataError(
                f"data.target={target} needs labels, and these data have none; name their column with data.label, or "
                "train without them: data.target=tokens"
            )
        return rows
    read: Callable[[Any], Any] = {
        "class": _name,
        "labels": lambda value: _names(value, separator),
        "value": _number,
        "tokens": _name_or_nothing,
    }[target]
    kept, labels = [], []
    for row, value in enumerate(rows.labels):
        try:
            labels.append(read(value))
            kept.append(row)
        except ValueError as error:
            file, line = rows.places[row] if rows.places else (f"example {row}", 0)
            bad.note(file, line, str(error))
    if target == "labels":
        _refuse_undivided(labels, separator)
    rows = rows if len(kept) == len(rows) else rows.take(np.array(kept, dtype=np.int64))
    notes = _no_classes(labels, separator) if target == "tokens" else ()
    return dataclasses.replace(rows, labels=labels, notes=(*rows.notes, *notes))


def _no_classes(names: Sequence[str], separator: str) -> tuple[str, ...]:
    """Return a message where labels, of which nothing is learned, are no class for each row.

    Texts are divided as they are by their classes. By what else they may be labelled with they are divided otherwise.
    """
    distinct = set(names)
    if "" in distinct:
        found = "not every row has a class"
    elif any(separator in name for name in distinct):
        found = f"some rows have several labels ({quoted(separator)})"
    elif _too_many(distinct, len(names)):
        found = f"{len(names):,} rows have {len(distinct):,} different labels"
    else:
        return ()
    return (
        f"{found}, so that data.target=labels or value, or leaving rows out, divides these texts otherwise: what is "
        "learned from here may be tested on there. data.split_column keeps the division the same",
    )


def _name(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers with gaps comes as floats
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the label is {value}; expected the name of a class")
    if not isinstance(value, str | int | float) and value is not None:
        raise ValueError(f"the label is {_kind(value)}; expected the name of a class, a text or a whole number")
    name = composed(str(value).strip()) if value is not None else ""
    if not name:
        raise ValueError("the label is empty; each row needs one")
    return name


def _name_or_nothing(value: Any) -> str:
    try:
        return _name(value)
    except ValueError:
        return ""  # nothing is learned of it


def _names(value: Any, separator: str) -> tuple[str, ...]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"the label {quoted(value[:60])} begins like a list and is no JSON list") from None
    if value is None or value == "":
        return ()  # a row without any of the labels
    parts = value if isinstance(value, list | tuple) else str(value).split(separator)
    return tuple(sorted({_name(part) for part in parts}))


def _refuse_undivided(labels: Sequence[tuple[str, ...]], separator: str) -> None:
    """Refuse rows that all have one label at most, where another separator would make fewer and several of them."""
    if any(len(names) > 1 for names in labels):
        return
    whole = {name for names in labels for name in names}
    for other in ";,|/":
        parts = {part.strip() for name in whole for part in name.split(other)}
        if other != separator and len(parts) < len(whole):
            example = max(whole, key=lambda name: name.count(other))
            raise DataError(
                f"no row has two labels divided by `{separator}`, but some have {quoted(example)}: divided by "
                f"`{other}` these are {len(parts):,} labels instead of {len(whole):,}; give "
                f"'data.label_separator=\"{other}\"'"
            )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the label is {_kind(value)}; expected a number (data.target=value)")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"the label {quoted(str(value)[:60])} is no number (data.target=value)") from None
    if not math.isfinite(number):
        raise ValueError(f"the label is {number}; expected a finite number")
    return number


def _kind(value: Any) -> str:
    kinds = {type(None): "empty", bool: "true or false", list: "a list", dict: "an object", tuple: "a list"}
    return kinds.get(type(value), f"a {type(value).__name__}")


# ---- Number: names become places in the list of classes -------------------------------------------------------------


def number_labels(rows: TextRows, target: Target, known: Sequence[str] | None = None) -> Labels:
    """Return the labels that `read_labels` gave as numbers.

    Args:
        rows: The rows.
        target: What is learned.
        known: The classes of a model; None: those that occur, in order - of whole numbers by size.

    Raises:
        DataError: There is one class only, or one that the model does not know; names that differ in case only.
    """
    nothing = np.zeros(len(rows), dtype=np.int64)
    if rows.labels is None:
        return Labels((), None, nothing)
    if target == "value":
        values = np.array(rows.labels, dtype=np.float32)
        bounds = np.quantile(values, np.linspace(0, 1, _QUANTILES + 1)[1:-1])
        return Labels((), values, np.searchsorted(np.unique(bounds), values).astype(np.int64))
    if target == "tokens":  # labels only keep the division the same as where they are learned as classes
        strata = {name: number for number, name in enumerate(_ordered(set(rows.labels)))}
        return Labels((), None, np.array([strata[label] for label in rows.labels], dtype=np.int64))
    classes = tuple(known) if known is not None else _classes(rows, target)
    places = {name: number for number, name in enumerate(classes)}
    owners = [(label,) for label in rows.labels] if target == "class" else rows.labels
    _refuse_unknown(rows, owners, places)
    if target == "class":
        numbers = np.array([places[label] for label in rows.labels], dtype=np.int64)
        return Labels(classes, numbers, numbers)
    values = np.zeros((len(rows), len(classes)), dtype=np.float32)
    for row, names in enumerate(owners):
        values[row, [places[name] for name in names]] = 1
    # Each row counts for its rarest label, so that this one, too, comes into every split.
    rarity = np.where(values > 0, values.sum(0), np.inf)
    return Labels(classes, values, np.where(values.any(1), rarity.argmin(1), len(classes)).astype(np.int64))


def _classes(rows: TextRows, target: Target) -> tuple[str, ...]:
    assert rows.labels is not None
    pairs = [(name, row) for row, label in enumerate(rows.labels) for name in ([label] if target == "class" else label)]
    names = [name for name, _ in pairs]
    check_class_names(names, lambda place: rows.where(pairs[place][1]))
    distinct = set(names)
    if target == "class" and len(distinct) == 1:
        raise DataError(
            f"all {len(rows):,} rows are of the class {quoted(names[0])}; give at least two classes, or train without "
            "labels: data.target=tokens"
        )
    if not distinct:
        raise DataError(f"none of the {len(rows):,} rows has a label; name their column with data.label")
    if target == "class" and _too_many(distinct, len(names)):
        value = "to learn their value give data.target=value, or " if all(map(_is_number, distinct)) else ""
        raise DataError(
            f"{len(names):,} rows have {len(distinct):,} different labels, as {listed(sorted(distinct), 3)}; "
            f"{value}name the column of the classes with data.label"
        )
    return _ordered(distinct)


def _too_many(distinct: Set[str], size: int) -> bool:
    """Tell whether so many different labels of `size` rows can be no classes."""
    return len(distinct) > _MANY and 2 * len(distinct) > size


def _ordered(names: Set[str]) -> tuple[str, ...]:
    """Return names of classes in their order: whole numbers by size, others by their letters."""
    if all(_is_whole(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _is_whole(name: str) -> bool:
    return name.isascii() and name.removeprefix("-").isdigit()


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _refuse_unknown(rows: TextRows, owners: Sequence[Sequence[str]], places: dict[str, int]) -> None:
    unknown = [(name, row) for row, names in enumerate(owners) for name in names if name not in places]
    if unknown:
        names = sorted({name for name, _ in unknown})
        more = f" ({len(unknown):,} such labels: {listed(names)})" if len(unknown) > 1 else ""
        raise DataError(
            f"{rows.where(unknown[0][1])}: the model does not know the label {quoted(unknown[0][0])}{more}; it knows "
            f"{listed(places)}. Use data with these labels, or train a new model with init_from="
        )
