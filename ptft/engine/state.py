"""Nested state as tensors and JSON: what lets a checkpoint hold any component without pickle.

`flatten` takes the tensors out of nested dicts and lists and leaves references; `unflatten` puts them back.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

_REFERENCE, _INTEGERS = "__tensor__", "__integers__"


def flatten(state: Any, path: str = "") -> tuple[Any, dict[str, Tensor]]:
    """Split nested state into a JSON skeleton and tensors by path.

    Dict keys must be strings or integers; integers come back as integers. Tensors are detached, copied to the CPU and
    made contiguous, so later training does not reach them.

    Raises:
        TypeError: A value is neither a tensor nor a JSON value, or a name could not be found again.
    """
    if isinstance(state, Tensor):
        return {_REFERENCE: path}, {path: state.detach().to("cpu", copy=True).contiguous()}
    if isinstance(state, Mapping):
        keys = list(state)
        pairs = [flatten(state[key], f"{path}/{key}" if path else str(key)) for key in keys]
        integers = bool(keys) and all(type(key) is int for key in keys)
        if {_REFERENCE, _INTEGERS} & set(keys) or not (integers or all(isinstance(key, str) for key in keys)):
            raise TypeError(f"state {path} has the keys {keys[:5]}; they must be all strings or all integers")
        skeleton: Any = {str(key): pair[0] for key, pair in zip(keys, pairs, strict=True)}
        return ({_INTEGERS: skeleton} if integers else skeleton), _union(pair[1] for pair in pairs)
    if isinstance(state, list | tuple):
        pairs = [flatten(value, f"{path}/{number}") for number, value in enumerate(state)]
        return [pair[0] for pair in pairs], _union(pair[1] for pair in pairs)
    if state is None or isinstance(state, bool | int | float | str):
        return state, {}
    raise TypeError(f"state {path} is a {type(state).__name__}; a checkpoint holds tensors and JSON values only")


def unflatten(skeleton: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put the tensors back into a skeleton."""
    if isinstance(skeleton, dict):
        if _REFERENCE in skeleton:
            return tensors[skeleton[_REFERENCE]]
        if _INTEGERS in skeleton:
            return {int(key): unflatten(value, tensors) for key, value in skeleton[_INTEGERS].items()}
        return {key: unflatten(value, tensors) for key, value in skeleton.items()}
    if isinstance(skeleton, list):
        return [unflatten(value, tensors) for value in skeleton]
    return skeleton


def alias_tied(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return each storage once, and for every other name of the same tensor the name it is saved under."""
    unique: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple[object, ...], str] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        key = (storage, tensor.device, tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())
        if storage and tensor.numel() and key in seen:
            aliases[name] = seen[key]
        else:
            seen[key] = name
            unique[name] = tensor
    return unique, aliases


def _union(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    union: dict[str, Tensor] = {}
    for part in parts:
        if clash := union.keys() & part.keys():  # {"a/b": tensor, "a": {"b": tensor}}
            raise TypeError(f"two tensors of the state have the path {min(clash)}; keys must not hold a slash")
        union |= part
    return union
