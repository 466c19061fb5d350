"""Do two runs judge the same examples? If not, the error says which classes, examples, labels or pictures differ.

Data of one fingerprint are the same. Data of another may still agree in the examples compared: a run with few labels
keeps other training examples, which changes the fingerprint and no test example. Then what they show is compared.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ptft.command.measure import Bench
from ptft.data.image_arrays import class_difference
from ptft.engine.evaluate import Evaluation
from ptft.errors import ConfigError, DataError
from ptft.runtime.text import shortened

_LOOKED_AT = 256
"""Pictures, or texts, compared where fingerprints differ."""


def check_tasks(first: Bench, other: Bench, letter: str) -> None:
    """Check, before anything is evaluated, that two runs, A and another, predict the same things.

    Raises:
        ConfigError: Tasks or classes differ.
    """
    kinds = [type(bench.task).__name__ for bench in (first, other)]
    if kinds[0] != kinds[1]:
        raise ConfigError(f"run A is of the task {kinds[0]}, {letter} of {kinds[1]}: their metrics cannot be compared")
    if wrong := class_difference(first.task.label_names(), other.task.label_names(), "A", letter):
        raise ConfigError(f"runs A and {letter} predict other classes: {wrong}; name runs of the same classes")


def check_examples(first: Bench, one: Evaluation, other: Bench, two: Evaluation, letter: str, *, allowed: bool) -> None:
    """Check that two evaluations, of A and of another run, are of the same examples in the same order.

    Args:
        first: Run A.
        one: Its evaluation.
        other: The other run.
        two: Its evaluation.
        letter: What the other run is called.
        allowed: Whether data of another fingerprint are meant.

    Raises:
        ConfigError: Examples, labels or data differ.
    """
    if "index" not in one.records or "index" not in two.records:
        raise ConfigError("run=a,b: this task judges all examples together, so that they cannot be paired")
    indices = one.records["index"], two.records["index"]
    if not torch.equal(*indices):
        raise ConfigError(
            f"runs A and {letter} do not judge the same examples: {_told_apart(indices, letter)}. Their {first.split} "
            "splits differ; give both the same one: data.split.seed=..., data.path=..."
        )
    if "label" in one.records and not torch.equal(one.records["label"], two.records["label"]):
        places = (one.records["label"] != two.records["label"]).nonzero()[:, 0]
        names = first.task.label_names()
        a, b = (_named(side.records["label"][places[0]], names) for side in (one, two))
        raise ConfigError(
            f"runs A and {letter} do not judge the same examples: {len(places)} of {len(indices[0])} have other "
            f"labels, as example {int(indices[0][places[0]])}: {a} in A, {b} in {letter}. Compare runs on the same data"
        )
    prints = first.data.spec.fingerprint, other.data.spec.fingerprint
    if prints[0] != prints[1] and not allowed and (why := _other_examples(first, other, indices[0])):
        raise ConfigError(
            f"runs A and {letter} do not judge the same data: {why} (fingerprints {prints[0][:12]} and "
            f"{prints[1][:12]}). Compare runs on the same data, or say that they are the same: data.allow_changed=true"
        )


def _told_apart(indices: tuple[Tensor, Tensor], letter: str) -> str:
    own, others = (set(index.tolist()) for index in indices)
    if own == others:
        return "they come in another order"
    sides = ((own - others, "A"), (others - own, letter))
    only = [f"{len(rest)} only in {name} (as {min(rest)})" for rest, name in sides if rest]
    return f"of {len(own | others)} examples {len(own & others)} are in both, {', '.join(only)}"


def _named(label: Tensor, names: Sequence[str]) -> str:
    return f"`{shortened(names[int(label)], 40)}`" if names and int(label) >= 0 else str(int(label))


def _other_examples(first: Bench, other: Bench, index: Tensor) -> str:
    """Return why the examples compared are not the same pictures, or texts, in both data sets, or nothing."""
    own, others = first.data.spec, other.data.spec
    distinct = torch.unique(index)
    looked_at = distinct[torch.linspace(0, len(distinct) - 1, min(_LOOKED_AT, len(distinct))).long()]
    text = own.kind == others.kind == "text"  # compared as it is read, however a model cuts it
    if not text and (own.shape != others.shape or dict(own.preprocessing) != dict(others.preprocessing)):
        return (
            f"they are prepared in other ways, {own.shape} and {others.shape}, so that nothing tells they are the same"
        )
    try:
        if text:
            texts = first.data.texts(looked_at), other.data.texts(looked_at)
            count = sum(a != b for a, b in zip(*texts, strict=True))
            return f"{count} of {len(looked_at)} texts looked at differ" if count else ""
        pictures = first.data.pictures(looked_at), other.data.pictures(looked_at)
    except DataError:
        return "nothing tells that the examples are the same"
    differ = (pictures[0] != pictures[1]).flatten(1).any(dim=1)
    if not bool(differ.any()):
        return ""
    place = int(looked_at[differ][0])
    return f"{int(differ.sum())} of {len(looked_at)} pictures looked at differ, as that of example {place}"
