"""Commands that start from the config of a run: `evaluate run=`, `predict run=` and `resume=`."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from ptft.config.kinds import Complaint
from ptft.config.problems import shown
from ptft.config.yaml_guard import check_yaml
from ptft.errors import ConfigError

NODE = "saved_run"
"""Name under which the defaults list of a root finds the config of a run."""
RESUMED = "resumed_run"
"""Name of the root config that stands in for `pretrain` and `finetune` when a run is resumed."""
_MEASURED = ("data", "model", "task", "augmentation", "adapt", "engine", "experiment")
"""What these commands take over from the run: how the task was built, and where one trains, how that was done."""
_TAKEN = {
    "evaluate": (*_MEASURED, "logger"),
    "predict": _MEASURED,
    "compress": (*_MEASURED, "optimizer", "schedule", "logger"),
}
MAY_CHANGE = (
    "engine.max", "engine.stop_at", "engine.evaluate_every", "engine.checkpoint_every", "engine.log_every",
    "engine.keep_last", "engine.device", "engine.profile", "logger", "data.num_workers", "data.path", "data.download",
    "data.allow_changed", "data.cache_folder", "data.on_bad_sample", "data.max_bad",
    "offline", "resume", "auto_resume", "name", "output_root", "overwrite", "gate", "command",
    "init_from", "init_partial", "distil.teacher", "experiment", "debug",
)  # fmt: skip
"""What a resumed run may change: durations, cadence, logging, workers, devices. Weights come from its checkpoint, and
`experiment` only names where settings came from."""


def read_saved(run: Path) -> dict[str, Any]:
    """Return the saved config of a run as plain values.

    Raises:
        ConfigError: There is none, it is damaged, or it reaches into Hydra.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{run} has no config.yaml, so it cannot be gone on with or used")
    text = check_yaml(path)
    config = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: holds no mapping")
    for key in ("hydra", "defaults"):
        if key in config:
            raise ConfigError(f"{path}: holds `{key}`, which the config of a run never does")
    return {str(key): value for key, value in config.items()}


CHOSEN_AGAIN = ("logger", "debug")
"""Groups that a resumed run may choose anew."""


def store_saved(config: Mapping[str, Any], verb: str, *, without: Iterable[str] = ()) -> None:
    """Hand to Hydra what a verb takes of a saved config, without the groups that the command line chooses anew."""
    taken = _TAKEN.get(verb, tuple(config))
    kept = {key: value for key, value in config.items() if key in taken and key not in without}
    store = ConfigStore.instance()
    store.store(name=NODE, node=OmegaConf.create(kept), provider="ptft")
    defaults = [NODE, {"logger": None}, {"debug": None}, "_self_"]
    store.store(name=RESUMED, node=OmegaConf.create({"defaults": defaults}), provider="ptft")


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every leaf."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, list(value) if isinstance(value, tuple) else value


def check_resumed(saved: Mapping[str, Any], new: Mapping[str, Any]) -> list[Complaint]:
    """Return what a resumed run would change and may not, with the old and the new value."""
    old, now = dict(flat(saved)), dict(flat(new))
    complaints = []
    for key in {**old, **now}:
        allowed = any(key == name or key.startswith(f"{name}.") for name in MAY_CHANGE)
        before, after = old.get(key), now.get(key)
        if not allowed and before != after and not (before in (None, {}, []) and after in (None, {}, [])):
            complaints.append(
                (key, f"is {shown(before)} in the run that is resumed and cannot become {shown(after)}; a new run with "
                 "its weights starts with init_from= in place of resume=")
            )  # fmt: skip
    return complaints
