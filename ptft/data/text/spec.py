"""What texts tell of themselves: whether they fit a model, their fingerprint, the balance of their classes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ptft.data.data_module import DataSpec
from ptft.data.text.labels import Labels
from ptft.data.text.rows import Rows, TextRows
from ptft.data.text.tokenizer import tokenizer_folder
from ptft.data.text.tokenizer_training import TokenizerSettings
from ptft.errors import DataError
from ptft.runtime.text import shortened

_SHOWN = 8
"""Classes whose shares are shown one by one."""


def check_fit(own: DataSpec, given: DataSpec, title: str) -> None:
    """Check that data with the specification `own` can be read as `given`, the one a model was trained with.

    Raises:
        DataError: Kind, target, labels, length or preparation do not fit.
    """
    if own.kind != given.kind:
        raise DataError(f"{title}: the model was made for {given.kind}s, and these data are {own.kind}s")
    if own.target != given.target:
        raise DataError(
            f"{title}: the model was made for data.target={given.target}, now it is {own.target}; leave data.target as "
            "it was, or make a new model with init_from="
        )
    if own.shape != given.shape:
        raise DataError(
            f"{title}: the model was made for data.max_length={given.shape[0]}, now it is {own.shape[0]}; leave it as "
            "it was, or make a new model with init_from="
        )
    if own.inputs != given.inputs:
        raise DataError(
            f"{title}: the model takes {', '.join(given.inputs)}, these data give {', '.join(own.inputs)}; use data "
            "prepared in the same way, or make a new model with init_from="
        )
    for key in sorted({*own.preprocessing, *given.preprocessing}):
        before, now = given.preprocessing.get(key), own.preprocessing.get(key)
        if before != now:
            raise DataError(
                f"{title}: the model was made for texts prepared with data.{key}={before}, now it is {now}; leave "
                f"data.{key} as it was, or make a new model with init_from="
            )


def fingerprint(rows: TextRows, labels: Labels, splits: Mapping[str, Rows]) -> str:
    """Return the SHA-256 of texts, pairs, labels, class names and the rows of each split, in hexadecimal."""
    digest = hashlib.sha256(repr((len(rows), labels.classes)).encode())
    for texts in (rows.texts, rows.pairs or ()):
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
    for label in rows.labels or ():
        digest.update(repr(label).encode() + b"\0")
    for name in sorted(splits):
        digest.update(f"{name} {len(splits[name])}".encode())
        digest.update(np.ascontiguousarray(splits[name], dtype="<i8").data)
    return digest.hexdigest()


def without_tokenizer(weights: Path | None, settings: TokenizerSettings) -> list[str]:
    """Return a message where the weights that a run starts from bring no tokenizer, and no other is named."""
    if weights is None or settings.path is not None or tokenizer_folder(weights) is not None:
        return []
    return [f"{weights} comes with no tokenizer: one was trained on these texts, whose tokens it does not know"]


def class_shares(spec: DataSpec, labels: Labels) -> str:
    """Return the classes with the share of all rows that each has, for a line on the console."""
    if spec.target == "value" and labels.values is not None and len(labels.values):
        low, high = float(labels.values.min()), float(labels.values.max())
        return f"values from {low:g} to {high:g}, mean {spec.value_mean:.4g}"
    if not labels.classes:
        return "no labels"
    counts = np.array(labels.counts(np.arange(len(labels))))
    shares = 100 * counts / max(1, len(labels))
    named = [f"{shortened(name, 24)} {share:.1f}%" for name, share in zip(labels.classes, shares, strict=True)]
    if len(named) <= _SHOWN:
        return f"{len(named)} classes: {', '.join(named)}"
    return f"{len(named)} classes, from {named[int(shares.argmax())]} to {named[int(shares.argmin())]}"
