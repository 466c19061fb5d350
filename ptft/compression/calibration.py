"""Ranges of activations for static int8: what training examples reach, cut to where rounding and clipping cost least.

Methods:
    minmax       all that was seen
    percentile   all but a share of the outermost values
    mse          the range of the least mean squared error (Choukroun and others, arXiv 1902.06822)

Two passes over the same examples, the second into histograms, so that no activation is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ptft.compression import onnx_file
from ptft.errors import DataError
from ptft.runtime.session import OnnxSession

Method = Literal["minmax", "percentile", "mse"]
Rows = Mapping[str, np.ndarray]
Range = tuple[float, float]
BINS = 2048
LEVELS = 255
"""Steps between the ends of an 8-bit range."""
VALUES_AT_ONCE = 1 << 25
"""Activations held at once, 128 MB in float32."""
_SHARES = np.linspace(0.2, 1.0, 81)
"""Shares of the whole range that are tried."""


def find_ranges(
    model: object,
    names: Sequence[str],
    batches: Callable[[], Iterator[Rows]],
    folder: Path,
    *,
    method: Method,
    percentile: float,
    threads: int,
) -> dict[str, Range]:
    """Return the range of each tensor, 0 within it.

    Args:
        model: An `onnx.ModelProto`; not changed.
        names: The tensors: inputs, or what nodes give.
        batches: Yields the inputs of examples, the same every time.
        folder: Where the model may be written with further outputs.
        method: How a range is chosen.
        percentile: For `percentile`, how many of a hundred values lie below the upper end, and above the lower.
        threads: Of the runtime.

    Raises:
        DataError: There are no examples, or a value is not finite.
    """
    session = _opened(model, names, folder, threads)
    lowest, highest = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    seen = False
    for values in _activations(session, names, batches()):
        seen = True
        for name, value in values.items():
            lowest[name] = min(lowest[name], float(value.min()))
            highest[name] = max(highest[name], float(value.max()))
    if not seen:
        raise DataError("calibration needs training examples, and there are none")
    if bad := [name for name in names if not np.isfinite([lowest[name], highest[name]]).all()]:
        raise DataError(
            f"calibration met values that are not finite in {bad[0]}; the network is not fit to be exported"
        )
    whole = {name: (lowest[name], highest[name]) for name in names}
    if method == "minmax":
        return whole
    counts = {name: np.zeros(BINS) for name in names}
    for values in _activations(session, names, batches()):
        for name, value in values.items():
            counts[name] += np.histogram(value, BINS, _ends(whole[name]))[0]
    if method == "percentile":
        return {name: _percentile(counts[name], whole[name], percentile / 100) for name in names}
    return {name: _least_error(counts[name], whole[name]) for name in names}


def _opened(model: object, names: Sequence[str], folder: Path, threads: int) -> OnnxSession:
    """Return a session that gives the named tensors."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    own = {one.name for one in copy.graph.input}
    del copy.graph.output[:]
    for name in names:
        if name not in own:
            copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return OnnxSession(onnx_file.save(copy, folder), threads)


def _activations(
    session: OnnxSession, names: Sequence[str], batches: Iterator[Rows]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the named tensors of a few examples at a time: as many as fit in `VALUES_AT_ONCE`."""
    few = 1
    for batch in batches:
        size, start = len(next(iter(batch.values()))), 0
        while start < size:
            rows = {name: value[start : start + few] for name, value in batch.items()}
            start += few
            values = dict(zip(session.outputs, session.run(rows), strict=True))
            held = sum(value.size for value in values.values())
            few = max(1, VALUES_AT_ONCE * len(next(iter(rows.values()))) // max(held, 1))
            yield values | {name: rows[name] for name in names if name in rows}


def _ends(whole: Range) -> Range:
    return whole if whole[1] > whole[0] else (whole[0], whole[0] + 1e-6)


def _percentile(counts: np.ndarray, whole: Range, share: float) -> Range:
    edges = np.linspace(*_ends(whole), BINS + 1)
    below = np.cumsum(counts) / max(counts.sum(), 1)
    upper = edges[min(int(np.searchsorted(below, share)) + 1, BINS)]
    lower = edges[int(np.searchsorted(below, 1 - share, side="right"))]
    return min(float(lower), 0.0), max(float(upper), 0.0)


def _least_error(counts: np.ndarray, whole: Range) -> Range:
    lower, upper = _ends(whole)
    edges = np.linspace(lower, upper, BINS + 1)
    centre = (edges[1:] + edges[:-1]) / 2
    errors = []
    for share in _SHARES:
        step = (upper - lower) * share / LEVELS
        rounded = np.round(np.clip(centre, lower * share, upper * share) / step) * step
        errors.append(float((counts * (centre - rounded) ** 2).sum()))
    best = float(_SHARES[int(np.argmin(errors))])
    return whole[0] * best, whole[1] * best
