"""The parts of a network that does not tell them: found in its tree of modules, and checked to cover all of it.

Blocks are what stands in the largest row of equal modules, or in the rows within those (stages of layers). What comes
before the first block is the stem, what stands between two belongs to the later one, and what follows to the last.
"""

from collections.abc import Iterator

from torch import nn

from ptft.errors import ConfigError
from ptft.model.parts import Parts, belongs


def discover_parts(network: nn.Module, num_classes: int) -> Parts:
    """Return the parts of a network; every parameter and buffer lies in exactly one.

    Raises:
        ConfigError: It does not end in one linear layer of `num_classes` outputs, or has no row of equal modules.
    """
    name = type(network).__name__
    names = list(network.state_dict())
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    heads = [path for path in linear if network.get_submodule(path).out_features == num_classes]
    if not heads or not belongs(names[-1], heads[-1]):
        raise ConfigError(
            f"{name} does not end in one linear layer of {num_classes} outputs, so its head is not known; "
            "choose another architecture"
        )
    return parts_below(network, heads[-1])


def parts_below(network: nn.Module, head: str, neck: tuple[str, ...] = ()) -> Parts:
    """Return the parts of a network whose head, and what stands before it, is known.

    Args:
        network: The network.
        head: Prefix of its head.
        neck: Prefixes of what belongs to the head (`Parts.neck`).

    Raises:
        ConfigError: It has no row of equal modules.
    """
    top = (*neck, head)
    blocks = _blocks(network, top)
    if not blocks:
        raise ConfigError(
            f"{type(network).__name__} has no row of equal modules, so its blocks are not known; choose another"
        )
    stem: list[str] = []
    found: list[list[str]] = []
    waiting: list[str] = []
    for unit in _units(network, "", {*blocks, *top}):
        if unit in blocks:
            found.append([*waiting, unit])
            waiting = []
        elif unit not in top:
            (waiting if found else stem).append(unit)
    found[-1] += waiting
    return Parts(stem=tuple(stem), blocks=tuple(tuple(block) for block in found), head=head, neck=neck)


def _blocks(network: nn.Module, top: tuple[str, ...]) -> list[str]:
    """Return the paths of the blocks, in order; they hold nothing of the top and lie not in it."""
    rows = {
        path: module
        for path, module in network.named_modules()
        if _is_row(module) and not any(belongs(unit, path) or belongs(path, unit) for unit in top)
    }
    outermost = {p: m for p, m in rows.items() if not any(p != other and belongs(p, other) for other in rows)}
    if not outermost:
        return []
    largest = max(outermost, key=lambda path: sum(parameter.numel() for parameter in outermost[path].parameters()))
    blocks: list[str] = []
    for number, item in outermost[largest].named_children():
        inner = [(name, child) for name, child in item.named_children() if _is_row(child)]
        path = f"{largest}.{number}"
        if isinstance(outermost[largest][0], nn.Sequential) or not inner:
            blocks.append(path)
        else:
            blocks += [f"{path}.{name}.{index}" for name, row in inner for index, _ in row.named_children()]
    return blocks


def _is_row(module: nn.Module) -> bool:
    """Tell whether a module holds modules of one kind in a row, each with layers of its own."""
    if not isinstance(module, nn.ModuleList | nn.Sequential):
        return False
    children = list(module.children())
    kinds = {type(child) for child in children}
    return len(kinds) == 1 and any(True for child in children for _ in child.children()) and _has_state(module)


def _units(module: nn.Module, path: str, marked: set[str]) -> Iterator[str]:
    """Yield, in order, the largest modules (or single tensors) that hold none of the marked ones, and these."""
    if path in marked or (path and not any(belongs(mark, path) for mark in marked)):
        if _has_state(module):
            yield path
        return
    before = f"{path}." if path else ""
    own = set(module.state_dict()) & {
        *dict(module.named_parameters(recurse=False)),
        *dict(module.named_buffers(recurse=False)),
    }
    yield from (before + name for name in module.state_dict() if name in own)
    for name, child in module.named_children():
        yield from _units(child, before + name, marked)


def _has_state(module: nn.Module) -> bool:
    return bool(module.state_dict())
