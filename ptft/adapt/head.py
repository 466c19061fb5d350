"""What becomes of a model's head, and of what stands right before it, when weights of another model are loaded.

A head of classes is taken only where they are known to be the same. One over tokens or places has no classes: whatever
of it fits is taken. Tensors tied to the backbone (a decoder that is the embedding) are none of the head's own.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ptft.model.parts import Parts, belongs

Tensors = Mapping[str, Tensor]


def alike(first: Tensor, second: Tensor) -> bool:
    """Tell whether one tensor can be copied into the other: the same shape, and both floating or both whole numbers."""
    return first.shape == second.shape and first.is_floating_point() == second.is_floating_point()


def tied_names(tensors: Tensors, head: str) -> dict[str, str]:
    """Return, for each tensor below the head that is a tensor of the backbone, the name it has there."""
    body = {value.data_ptr(): name for name, value in tensors.items() if not belongs(name, head) and value.numel()}
    below = {name: value for name, value in tensors.items() if belongs(name, head) and value.numel()}
    return {name: body[value.data_ptr()] for name, value in below.items() if value.data_ptr() in body}


def fresh_neck(parts: Parts, own: Tensors, given: Tensors) -> tuple[set[str], tuple[str, ...]]:
    """Return the tensors of a neck that are begun anew, the model's and those given, and a phrase for each piece.

    Args:
        parts: Of the model.
        own: Its tensors by name.
        given: Weights by the same names.
    """
    names: set[str] = set()
    phrases = []
    for piece in parts.neck:
        mine = {name for name in own if belongs(name, piece)}
        theirs = {name for name in given if belongs(name, piece)}
        if mine == theirs and all(alike(own[name], given[name]) for name in mine):
            continue
        names |= mine | theirs
        phrases.append(f"{piece} begun anew, the weights hold {'one of another shape' if theirs else 'none'}")
    return names, tuple(phrases)


def choose_head(parts: Parts, own: Tensors, given: Tensors, *, classes_match: bool) -> tuple[tuple[str, ...], str]:
    """Return the names of the head's tensors to take, and a phrase on what becomes of it.

    Args:
        parts: Of the model.
        own: Its tensors by name.
        given: Weights by the same names, whole; what of another model's head has no place lies below this one's.
        classes_match: Whether the weights were trained on the same classes in the same order.
    """
    head = parts.head
    tied = tied_names(own, head)
    mine = {name: value for name, value in own.items() if belongs(name, head) and name not in tied}
    theirs = {name: value for name, value in given.items() if belongs(name, head) and name not in tied}
    untied = [name for name, body in tied.items() if name in given and not _same(given[name], given.get(body))]
    if not theirs:
        return (), "head re-initialised, the weights hold none"
    if untied:
        return (), "head re-initialised, the weights hold one that is not tied to their embedding"
    if not parts.classes:
        return _of_tokens(mine, theirs)
    whole = mine.keys() == theirs.keys() and all(alike(mine[name], theirs[name]) for name in mine)
    if classes_match and whole:
        return tuple(mine), "head taken"
    return (), _why_not(mine, theirs, whole)


def _of_tokens(mine: Tensors, theirs: Tensors) -> tuple[tuple[str, ...], str]:
    fits = [name for name in mine if name in theirs and alike(mine[name], theirs[name])]
    anew = [name for name in mine if name not in fits]
    if not fits:
        return (), "head re-initialised, the weights hold one of another kind"
    return tuple(fits), "head taken" + (f", but for {', '.join(anew)}, begun anew" if anew else "")


def _why_not(mine: Tensors, theirs: Tensors, whole: bool) -> str:
    before, after = _num_outputs(theirs), _num_outputs(mine)
    if mine.keys() != theirs.keys() or before is None or after is None:
        return "head re-initialised, the weights hold one of another kind"
    if before != after:
        return f"head re-initialised, {before} -> {after} classes"
    if whole:
        return f"head re-initialised, its {before} classes are not known to be the same"
    return "head re-initialised, the weights hold one of another shape"


def _num_outputs(head: Tensors) -> int | None:
    """Return how many logits a head gives: the rows of its last matrix."""
    matrices = [value for value in head.values() if value.ndim == 2]
    return matrices[-1].shape[0] if matrices else None


def _same(first: Tensor, second: Tensor | None) -> bool:
    return second is not None and torch.equal(first, second)
