"""The one place that turns a `_target_` into an object, and the rule for which targets may be.

A target is a class or function *defined* (not merely imported) in `ptft.<group>`, the folder that mirrors its config
group; a subclass of `torch.optim.Optimizer` in `torch.optim`, for the group `optimizer`; or defined in a package named
on the command line with `--plugin`. Everything about it is read from source; it is imported only when it is built.
"""

import ast
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptft.config.kinds import Complaint, Record
from ptft.config.problems import nearest, shown
from ptft.config.signature import component_record, settings_record
from ptft.config.source import Definition, Source, follow, package_exists, read_source
from ptft.errors import ConfigError
from ptft.runtime.text import printable

SUPPLIED = {"data": 1, "model": 1, "task": 2, "optimizer": 1, "schedule": 0, "augmentation": 0, "adapt": 0, "logger": 2,
            "compression": 0}  # fmt: skip
"""Config groups of components, with how many arguments ptft supplies before those a config may set: augmentations to
data, the specification to a model, both of them to a task, parameter groups to an optimizer, the run directory and the
first step to a logger."""
MAPPINGS = ("augmentation", "logger")
"""Groups that hold any number of components by name."""
NESTED = {"compression": "steps"}
"""Groups that hold components by name under one of their keys, beside settings of their own."""
SETTINGS = {
    "optimizer": ("ptft.optimizer.settings", "OptimizerSettings"),
    "schedule": ("ptft.schedule.settings", "ScheduleSettings"),
}
"""Settings that stand beside a component's own arguments and are not handed to it."""
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


@dataclass(frozen=True)
class Component:
    """An allowed target: where it is defined and what it takes."""

    source: Source
    definition: Definition
    record: Record


def reserved(group: str) -> Record:
    """Return the settings that stand beside the arguments of a group's components."""
    module, name = SETTINGS.get(group, ("", ""))
    source = read_source(module) if module else None
    return Record(group, ()) if source is None else settings_record(source, name)


def find_component(group: str, target: Any, trusted: Sequence[str] = ()) -> Component:
    """Return what a `_target_` names.

    Raises:
        ConfigError: The target is not one that this group may name; nothing of it was imported.
    """
    if not isinstance(target, str) or _DOTTED.fullmatch(target) is None:
        raise ConfigError(f"takes the full dotted name of a class or function, found {shown(target)}")
    module, _, name = target.rpartition(".")
    package = target.partition(".")[0]
    if group not in SUPPLIED:
        raise ConfigError(f"`{group}` holds no component; components stand under {', '.join(SUPPLIED)}")
    if target.startswith(f"ptft.{group}.") or any(target.startswith(f"{plugin}.") for plugin in trusted):
        found = _defined(module, name, target)
    elif group == "optimizer" and module == "torch.optim":
        found = _torch_optimizer(name, target)
    else:
        places = [f"`ptft.{group}`", *(["`torch.optim`"] if group == "optimizer" else []), *(f"`{p}`" for p in trusted)]
        hint = f"; `--plugin {package}` on the command line trusts that package"
        raise ConfigError(
            f"`{target}` may not be built here: a {group} is defined in {', '.join(places)}"
            + (hint if package not in sys.stdlib_module_names | {"ptft", "torch", "hydra"} else "")
        )
    return Component(*found, component_record(*found, SUPPLIED[group]))


def _defined(module: str, name: str, target: str) -> tuple[Source, Definition]:
    source = read_source(module)
    if source is None:
        raise ConfigError(f"`{target}`: there is no readable module `{module}`")
    if name not in source.definitions:
        public = [other for other in source.definitions if not other.startswith("_")]
        merely = f" (it is imported there from `{source.imports[name][0]}`)" if name in source.imports else ""
        raise ConfigError(f"`{name}` is not defined in {source.path}{merely}{nearest(name, public)}")
    return source, source.definitions[name]


def _torch_optimizer(name: str, target: str) -> tuple[Source, Definition]:
    """Find a class of torch.optim and follow its bases to Optimizer, without importing torch."""
    source = read_source("torch.optim")
    found = follow(source, name) if source else None
    current = found
    while current is not None and isinstance(current[1], ast.ClassDef) and current[0].module.startswith("torch.optim."):
        if current[1].name == "Optimizer" and found is not None and found[1].name != "Optimizer":
            return found
        bases = [follow(current[0], ast.unparse(base)) for base in current[1].bases]
        current = bases[0] if bases else None
    raise ConfigError(f"`{target}` is no subclass of torch.optim.Optimizer")


def check_component(key: str, group: str, node: Any, trusted: Sequence[str] = ()) -> list[Complaint]:
    """Return all that is wrong with one component of the config: its target, its arguments, its settings."""
    if not isinstance(node, Mapping):
        return [(key, f"takes a component with a `_target_`, found {shown(node)}; choose one with {group}=...")]
    if "_target_" not in node:
        return [(key, f"has no `_target_`; choose one with {group}=... (`ptft list {group}` names them)")]
    try:
        record = find_component(group, node["_target_"], trusted).record
    except ConfigError as error:
        return [(f"{key}._target_", str(error))]
    beside = reserved(group)
    whole = Record(record.name, (*record.fields, *beside.fields), record.open)
    complaints = list(whole.complaints(key, {name: value for name, value in node.items() if name != "_target_"}))
    phases = node.get("phases") if group == "optimizer" else None
    for phase, settings in phases.items() if isinstance(phases, dict) else ():
        if isinstance(settings, dict):
            fields = (*(f for f in beside.fields if f.name != "phases"), *record.fields)
            found = Record(record.name, fields).complaints(f"{key}.phases.{phase}", settings)
            complaints += [complaint for complaint in found if "is required" not in complaint[1]]
    return complaints


def instantiate(node: Mapping[str, Any], *supplied: Any, trusted: Sequence[str] = (), group: str = "") -> Any:
    """Build the object that a checked config node describes.

    Args:
        node: A mapping with a `_target_` and settings; those of `SETTINGS` are left out of the call.
        supplied: What ptft hands in before the settings.
        trusted: Packages named with `--plugin`.
        group: The config group the node stands under; of a ptft target the folder tells it.

    Raises:
        ConfigError: The target or a setting is not allowed.
    """
    target = str(node.get("_target_", ""))
    words = target.split(".")
    if not group:
        group = words[1] if words[0] == "ptft" and len(words) > 2 else "optimizer" if words[0] == "torch" else "model"
    complaints = check_component(group, group, node, trusted)
    if complaints:
        raise ConfigError("\n".join(printable(f"{key} {message}") for key, message in complaints))
    component = find_component(group, target, trusted)
    left_out = {"_target_", *(f.name for f in reserved(group).fields)}
    left_out -= {f.name for f in component.record.fields}
    settings = component.record.convert({name: value for name, value in node.items() if name not in left_out})
    return _imported(component)(*supplied, **settings)


def component_class(node: Mapping[str, Any], trusted: Sequence[str] = (), group: str = "") -> Any:
    """Return the class or function that a checked config node names.

    Raises:
        ConfigError: The target is not one that this group may name.
    """
    return _imported(find_component(group, node["_target_"], trusted))


def _imported(component: Component) -> Any:
    return getattr(importlib.import_module(component.source.module), component.definition.name)


def find_plugin(package: str) -> str | None:
    """Return what is wrong with a package named by `--plugin`, or None."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", package, re.ASCII):
        return f"takes the name of a Python package, found {shown(package)}"
    if package.partition(".")[0] in sys.stdlib_module_names | {"ptft", "torch", "hydra", "omegaconf", "hydra_plugins"}:
        return f"takes a package of your own, and `{package}` is none"
    if not package_exists(package):
        return f"no package `{package}` is installed or lies in this folder"
    return None
