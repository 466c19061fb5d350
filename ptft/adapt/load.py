"""Start a model from weights of another run or file: whole backbone or an error, and the head only where it fits.

Names are matched under the wrappers that training leaves around a network (`model.`, `module.`, `_orig_mod.`). Nothing
is copied before everything is checked. Files are read without running code: safetensors, or torch's with
`weights_only=True`.
"""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptft.adapt.fit import COMPILED, fit_tensors
from ptft.adapt.head import alike, choose_head, fresh_neck
from ptft.errors import CheckpointError
from ptft.model.parts import ExplainsTensors, HasParts, Parts, belongs

WRAPPERS = ("", "model.", "module.", "module.model.", "model.module.")
"""Prefixes put before a network's own names by a task (`model.`) or by data parallelism (`module.`)."""
NESTED = ("state_dict", "model_state_dict", "model")
"""Where other people's training scripts keep the weights within a .pth file."""
SHOWN = 8
"""How many names of each kind an error lists."""


# --- Files ------------------------------------------------------------------------------------------------------------


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a weights file (.safetensors, .pth, .pt) onto the CPU without running any code in it.

    Raises:
        CheckpointError: There is no such file, it is damaged, or it holds other things than named tensors.
    """
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise CheckpointError(f"{path}: expected a .safetensors, .pth or .pt file, found `{path.suffix or path.name}`")
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); fetch or write it again") from error
    return tensors


def _read_torch(path: Path) -> dict[str, Tensor]:
    from pickle import UnpicklingError

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, as it holds more than tensors, and reading that would run code from the file (or it is "
            "damaged). Where you trust it, load it with the program that wrote it and save only its state_dict, best "
            "with safetensors.torch.save_file"
        ) from error
    except Exception as error:  # a damaged file fails in many ways: RuntimeError, EOFError, KeyError, OSError ...
        raise CheckpointError(f"{path}: not a whole torch file; fetch or write it again") from error
    tensors = _named_tensors(content)
    if tensors is None:
        found = ", ".join(map(str, list(content)[:SHOWN])) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path}: expected tensors by name, or such under one of {', '.join(NESTED)}; found {found}"
        )
    return tensors


def _named_tensors(content: Any) -> dict[str, Tensor] | None:
    """Return the tensors by name in what a file held, or None."""
    candidates = [content, *(content.get(key) for key in NESTED)] if isinstance(content, dict) else []
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate and all(map(_is_dense, candidate.values())):
            return {str(name): value.detach() for name, value in candidate.items()}
    return None


def _is_dense(value: Any) -> bool:
    """Tell whether a value is a tensor with plain numbers in it: not sparse, quantized or empty of data."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_quantized)


# --- Loading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadReport:
    """What loading did.

    Attributes:
        loaded: Backbone tensors (parameters and buffers) that were copied.
        total: Backbone tensors of the model.
        head: What became of the head: `head taken`, `head re-initialised, 4 -> 10 classes`; empty without a head.
        missing: Backbone tensors of the model that the weights lack.
        unexpected: Weights that the model has no place for.
        mismatched: Backbone tensors of another shape, each with both shapes.
        changes: What was done to weights so that they fit, a phrase each.
    """

    loaded: int
    total: int
    head: str = ""
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the whole backbone was loaded and nothing was left over."""
        return not (self.missing or self.unexpected or self.mismatched)

    def describe(self) -> str:
        """Return one line such as `122 of 122 backbone tensors; head re-initialised, 4 -> 10 classes`."""
        line = f"{self.loaded} of {self.total} {'backbone ' if self.head else ''}tensors"
        counts = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.mismatched}
        left = [f"{len(names)} {kind}" for kind, names in counts.items() if names]
        line += f" ({', '.join(left)})" if left else ""
        return "; ".join([line, *self.changes, *([self.head] if self.head else [])])

    def explain(self) -> str:
        """Return a line for each kind of difference, with the first names."""
        kinds = {
            "missing (would stay random)": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.mismatched,
        }
        return "\n".join(f"  {kind}: {_some(names)}" for kind, names in kinds.items() if names)


def load_weights(
    model: nn.Module, tensors: Mapping[str, Tensor], *, partial: bool = False, classes_match: bool = False
) -> LoadReport:
    """Copy weights into a freshly initialised model, in place.

    Weights of another number of channels or another grid of positions are fitted, which the report tells.

    Args:
        model: The network; its head is told by `parts()`, without which all of it counts as backbone.
        tensors: Weights by name; wrappers around the names are seen through.
        partial: Accept missing, unexpected and mismatched backbone tensors, and load the others.
        classes_match: Whether the weights were trained on the same classes in the same order; only then can the
            head be taken.

    Raises:
        CheckpointError: The backbone does not fit and `partial` is False, or nothing at all fits; the model is then
            unchanged.
    """
    own: dict[str, Tensor] = {name.replace(COMPILED, ""): value for name, value in model.state_dict().items()}
    parts = _plain(model.parts()) if isinstance(model, HasParts) else None
    given, changes = fit_tensors(model, own, _aligned(tensors, own, parts))
    taken: tuple[str, ...] = ()
    head, anew = "", set[str]()
    if parts is not None:
        taken, head = choose_head(parts, own, given, classes_match=classes_match)
        anew, phrases = fresh_neck(parts, own, given)
        changes += phrases
    own_body, given_body = (_below(tensors, parts, anew) for tensors in (own, given))
    fits = [name for name, value in own_body.items() if name in given_body and alike(value, given_body[name])]
    mismatched = [name for name in own_body if name in given_body and name not in fits]
    report = LoadReport(
        loaded=len(fits),
        total=len(own_body),
        head=head,
        missing=tuple(name for name in own_body if name not in given_body),
        unexpected=tuple(name for name in given_body if name not in own_body),
        mismatched=tuple(f"{name} {_form(given_body[name])} -> {_form(own_body[name])}" for name in mismatched),
        changes=changes,
    )
    if not report.complete and (not partial or not fits):
        raise CheckpointError(
            f"the weights do not fit {type(model).__name__}: {report.loaded} of {report.total} backbone tensors match\n"
            f"{report.explain()}\n  {_remedy(model, {name: given_body[name] for name in mismatched}, partial)}"
        )
    with torch.no_grad():
        for name in [*fits, *taken]:
            own[name].copy_(given[name])
    return report


def _plain(parts: Parts) -> Parts:
    """Return the parts by the names they have when nothing is compiled."""
    return dataclasses.replace(
        parts, head=parts.head.replace(COMPILED, ""), neck=tuple(name.replace(COMPILED, "") for name in parts.neck)
    )


def _below(tensors: Mapping[str, Tensor], parts: Parts | None, anew: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors of the backbone: all but the head's, and those that are begun anew."""
    head = parts.head if parts is not None else None
    return {n: value for n, value in tensors.items() if n not in anew and (head is None or not belongs(n, head))}


def _remedy(model: nn.Module, mismatched: Mapping[str, Tensor], partial: bool) -> str:
    """Return what to do about weights that do not fit; a model may know better."""
    known = model.explain_tensors(mismatched) if isinstance(model, ExplainsTensors) else ""
    also = "" if partial else ", or take only what fits with init_partial=true"
    return (known or "choose the model= these weights were made with") + also


def _aligned(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], parts: Parts | None) -> dict[str, Tensor]:
    """Rename the given tensors to the model's names, by the change of prefix that makes most backbone names agree.

    Tensors that do not bear the chosen prefix belong to what stood around the network (a projector) and are left out.
    """
    plain = {name.replace(COMPILED, ""): value for name, value in tensors.items()}
    body = set(_below(own, parts, ()))

    def renamed(old: str, new: str) -> dict[str, Tensor]:
        return {new + name.removeprefix(old): value for name, value in plain.items() if name.startswith(old)}

    # max keeps the first of equals, and the first is no change at all.
    return max(
        (renamed(old, new) for old, new in product(WRAPPERS, WRAPPERS)), key=lambda names: len(body & set(names))
    )


def _form(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else " whole numbers"
    return str(tuple(tensor.shape)) + kind


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
