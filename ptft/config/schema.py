"""The check of a whole config at the door: every key, every component, and what settings mean together."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ptft.config.compression import check_compression
from ptft.config.keys import KEYS
from ptft.config.kinds import Complaint, Record
from ptft.config.prediction import check_prediction
from ptft.config.problems import nearest, shown
from ptft.config.resolve import MAPPINGS, NESTED, SUPPLIED, check_component, find_component
from ptft.config.signature import settings_record
from ptft.config.source import read_source
from ptft.errors import ConfigError
from ptft.optimizer.settings import OptimizerSettings
from ptft.runtime.duration import Duration
from ptft.schedule.settings import ScheduleSettings

_REQUIRED = {
    "pretrain": ("data", "model", "task", "optimizer", "schedule", "adapt"),
    "finetune": ("data", "model", "task", "optimizer", "schedule", "adapt"),
    "evaluate": ("data", "model", "task"),
    "predict": ("data", "model", "task"),
    "compress": ("data", "model", "task", "optimizer", "schedule", "adapt"),
}
_ONLY = {"compression": ("compress",)}
"""Groups that some verbs alone take."""
_METRIC = r"(train|val|test)/[A-Za-z0-9_@.-]+"
_DURATIONS = ("max", "stop_at", "evaluate_every", "checkpoint_every", "log_every")
_MAX_NAME = 200
_MAGIC = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")


def record_of(module: str, name: str) -> Record:
    """Return the keys of a settings dataclass of ptft."""
    source = read_source(module)
    assert source is not None, module
    return settings_record(source, name)


def keys_of(verb: str) -> Record:
    """Return the keys that stand at the top of a verb's config."""
    return record_of("ptft.config.keys", KEYS[verb].__name__)


def check_config(verb: str, config: Mapping[str, Any], trusted: Sequence[str] = ()) -> list[Complaint]:
    """Return all that is wrong with a plain, resolved config."""
    top, groups = _split(config)
    complaints = list(_unknown_keys(verb, config))
    complaints += keys_of(verb).complaints("", {key: top[key] for key in top if key in _names(verb)})
    engine = groups.get("engine", {})
    complaints += record_of("ptft.engine.settings", "EngineSettings").complaints("engine", engine)
    for group in SUPPLIED:
        node = groups.get(group)
        if group in NESTED:
            inner = f"{group}.{NESTED[group]}"
            found = node.get(NESTED[group]) if isinstance(node, Mapping) else None
            complaints += _check_mapping(group, found, trusted, inner) if isinstance(found, Mapping) else []
        elif group in MAPPINGS:
            complaints += _check_mapping(group, node, trusted)
        elif node is not None or group in _REQUIRED[verb]:
            complaints += check_component(group, group, node, trusted)
    complaints += list(_stray_targets(config))
    wrong = {key for key, _ in complaints}
    complaints += [c for c in _check_meaning(verb, config) if c[0] not in wrong]
    missing = list(_missing(config))
    told = [complaint for complaint in complaints if complaint[0] not in missing]
    return told + [(key, f"needs a value: {key}=...") for key in missing]


def complete(verb: str, config: Mapping[str, Any], trusted: Sequence[str] = ()) -> dict[str, Any]:
    """Return a checked config without removed steps (null), with the settings its groups hold in common."""
    whole = {key: value for key, value in config.items() if key not in ("debug", "command")}
    for group in MAPPINGS:
        whole[group] = {name: node for name, node in (whole.get(group) or {}).items() if node is not None}
    for group, inner in NESTED.items():
        if group in whole:
            steps = whole[group].get(inner) or {}
            whole[group] = {**whole[group], inner: {name: node for name, node in steps.items() if node is not None}}
    for group, common in (("optimizer", OptimizerSettings()), ("schedule", ScheduleSettings())):
        if group in whole:
            own = {f.name for f in find_component(group, whole[group]["_target_"], trusted).record.fields}
            beside = {name: value for name, value in dataclasses.asdict(common).items() if name not in own}
            whole[group] = {**beside, **whole[group]}
    for key in ("name", "run", "resume", "init_from", "checkpoint"):
        if isinstance(whole.get(key), int):
            whole[key] = str(whole[key])
        elif isinstance(whole.get(key), list):
            whole[key] = [str(item) for item in whole[key]]
    defaults = {f.name: f.default for f in dataclasses.fields(KEYS[verb]) if f.default is not dataclasses.MISSING}
    for name, default in defaults.items():
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            defaults[name] = whole[name] = _filled(dataclasses.asdict(default), whole.get(name) or {})
    return {**defaults, **whole, "command": verb}


def check_name(name: str) -> str | None:
    """Return why a run cannot have this name, or None: it must stay inside its folder and be a plain word."""
    if len(name) > _MAX_NAME:
        return f"has {len(name)} characters; a run's name has at most {_MAX_NAME}"
    if re.search(r"[\x00-\x1f\x7f\\]", name) or not name.strip():
        return f"takes a plain name, found {shown(name)}"
    parts = PurePosixPath(name).parts
    if name.startswith(("/", "~", "@", "-")) or any(part in ("..", ".") for part in (*parts, *name.split("/"))):
        return f"takes a name inside output_root, found {shown(name)}; another folder is chosen with output_root="
    return None


# Parts of the check


def _filled(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the defaults of those that are not given, nested ones too."""
    filled = {**defaults, **given}
    for name, value in defaults.items():
        if isinstance(value, dict) and value and isinstance(given.get(name), Mapping):
            filled[name] = _filled(value, given[name])
    return filled


def _names(verb: str) -> set[str]:
    return {f.name for f in keys_of(verb).fields}


def _split(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    groups = {key: value for key, value in config.items() if key in SUPPLIED or key in ("engine", "debug")}
    # A nested group has settings of its own, which are checked as those at the top are.
    return {key: value for key, value in config.items() if key not in groups or key in NESTED}, groups


def _unknown_keys(verb: str, config: Mapping[str, Any]) -> Iterator[Complaint]:
    groups = [group for group in SUPPLIED if verb in _ONLY.get(group, (verb,))]
    known = [*_names(verb), *groups, "engine", "debug"]
    for key in config:
        if key not in known:
            near = nearest(key, known) or f"; it has {', '.join(sorted(known))}"
            yield str(key), f"`ptft {verb}` has no such key{near}"


def _check_mapping(group: str, node: Any, trusted: Sequence[str], key: str = "") -> list[Complaint]:
    """Check a mapping of a group's components by name, which stands at `key`; null takes one of them out."""
    key = key or group
    if node is None:
        return []
    if not isinstance(node, Mapping) or "_target_" in node:
        return [(key, f"takes a mapping of names to components, found {shown(node)}")]
    return [
        complaint
        for name, component in node.items()
        if component is not None
        for complaint in check_component(f"{key}.{name}", group, component, trusted)
    ]


def _stray_targets(value: Any, path: tuple[str, ...] = ()) -> Iterator[Complaint]:
    """Yield keys that other tools would build objects from, where no component stands."""
    for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        inner = (*path, str(name))
        depth = _depth(path[0]) if path else 0
        if name in _MAGIC and not (name == "_target_" and len(path) == depth > 0):
            yield ".".join(inner), f"`{name}` may not stand here: only a component of a group has a `_target_`"
        if isinstance(item, Mapping | list):
            yield from _stray_targets(item, inner)


def _depth(group: str) -> int:
    """Return how deep below the top of a config the components of a group stand; 0: it has none."""
    if group in NESTED:
        return 3
    return 2 if group in MAPPINGS else 1 if group in SUPPLIED else 0


def _missing(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _missing(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _missing(item, f"{key}[{number}]")
    elif value == "???":
        yield key


def _check_meaning(verb: str, config: Mapping[str, Any]) -> Iterator[Complaint]:
    """Yield what is wrong with values that have the right type."""
    engine = config.get("engine")
    durations = {name: engine.get(name) for name in _DURATIONS} if isinstance(engine, Mapping) else {}
    for name, value in durations.items():
        yield from _check_duration(f"engine.{name}", value, share=name != "max")
    if isinstance(engine, Mapping):
        yield from _check_averages(engine.get("ema"), engine.get("swa"))
    if config.get("name") is not None and (wrong := check_name(str(config["name"]))):
        yield "name", wrong
    root = config.get("output_root")
    if isinstance(root, str) and (not root.strip() or "\0" in root or len(root) > 1000):
        yield "output_root", f"takes a folder, found {shown(root)}"
    objective = config.get("objective")
    if objective == []:
        yield "objective", "takes at least one metric, found an empty list; null takes the task's headline"
    for text in objective if isinstance(objective, list) else [objective]:
        if text is not None and not re.fullmatch(_METRIC + "(:(max|min))?", str(text)):
            yield "objective", f"takes the form `val/accuracy:max`, found {shown(text)}"
    if verb == "predict":
        yield from check_prediction(config)
    if verb == "compress":
        yield from check_compression(config)
    yield from _check_sweep(config.get("sweep"))
    gate = config.get("gate")
    if isinstance(gate, Mapping):
        if not re.fullmatch(_METRIC, str(gate.get("metric"))):
            yield "gate.metric", f"takes a metric such as `test/accuracy`, found {shown(gate.get('metric'))}"
        if gate.get("min") is None and gate.get("max") is None:
            yield "gate", "needs a bound: gate.min= or gate.max="
    if config.get("command") not in (None, verb):
        experiment = f" experiment={config['experiment']}" if config.get("experiment") else ""
        yield "command", f"this config is for `ptft {config['command']}`; type: ptft {config['command']}{experiment}"


def _check_sweep(sweep: Any) -> Iterator[Complaint]:
    """Yield what is wrong with the keys of a sweep."""
    for text in (sweep.get("space") or []) if isinstance(sweep, Mapping) else []:
        if "=" not in str(text):
            yield "sweep.space", f"takes settings with several values, as optimizer.lr=1e-3,1e-2; found {shown(text)}"


def _check_averages(ema: Any, swa: Any) -> Iterator[Complaint]:
    """Yield what is wrong with the averages of the weights, of which one can be evaluated."""
    if ema is not None and swa is not None:
        yield "engine.swa", "cannot stand beside engine.ema: one average is evaluated; drop one (engine.ema=null)"
    if isinstance(swa, Mapping):
        yield from _check_duration("engine.swa.every", swa.get("every"), share=True)


def _check_duration(key: str, value: Any, *, share: bool) -> Iterator[Complaint]:
    try:
        duration = Duration.parse(str(value), key) if value is not None else None
    except ConfigError:
        return  # told by the check of its type
    if duration is not None and duration.amount <= 0:
        yield key, f"takes more than nothing, found {shown(value)}"
    if duration is not None and duration.unit == "%" and not share:
        yield key, f"cannot be a share of the training, as it says how long that is: found {shown(value)}"
