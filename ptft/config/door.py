"""The door: from overrides to a config that is known to be right, or to one error that tells all that is wrong.

Composing is plain Hydra. What stands after it - references, saved runs, keys, components, meanings - is checked on the
plain result, before torch is imported and before anything is written.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from ptft.config import origin
from ptft.config.arguments import listed_runs, parse_overrides, plain_value
from ptft.config.checked import Checked, check_each
from ptft.config.compression import is_unfinished
from ptft.config.explain import Refusals, describe, explain
from ptft.config.interpolation import resolve
from ptft.config.keys import OF_A_RUN
from ptft.config.place import Renamer
from ptft.config.problems import COMMAND_LINE, Problem, as_error
from ptft.config.saved import CHOSEN_AGAIN, RESUMED, check_resumed, read_saved, store_saved
from ptft.config.schema import check_config, complete
from ptft.config.tree import GROUPS, Tree
from ptft.engine.settings import EngineSettings
from ptft.errors import ConfigError
from ptft.runtime.find import HOLDING, TRAINED, find_run, find_weights, is_path

TRAINS_ONLY = ("optimizer", "schedule", "adapt", "augmentation")
"""Groups that an evaluation has no use for."""
MEASURES = {
    "evaluate": ("batch_size", "device", "evaluation_batches", "precision"),
    "predict": ("batch_size", "device", "precision"),
}
"""Settings of the engine that a verb follows which trains nothing."""


@dataclass
class Door:
    """Checks the jobs of one command line.

    Attributes:
        verb: The command.
        root: Name of its root config.
        tree: Where config files lie.
        trusted: Packages named with `--plugin`.
    """

    verb: str
    root: str
    tree: Tree
    trusted: Sequence[str] = ()

    def check(self, texts: Sequence[str], rename: Renamer | None = None) -> Checked:
        """Compose and check the config of one job; needs an initialised Hydra. `rename` sets where its run belongs.

        Raises:
            ConfigError: It must not run; the message tells every problem.
        """
        runs = listed_runs(parse_overrides(texts)[0]) if self.verb == "evaluate" else None
        return self._check_one(texts, rename) if runs is None else check_each(self._check_one, texts, runs, rename)

    def _check_one(self, texts: Sequence[str], rename: Renamer | None) -> Checked:
        """Check a job of one run at most."""
        overrides, problems = parse_overrides(texts)
        root, saved, run = self.root, None, None
        reference, key = self._saved_reference(overrides)
        if reference is not None:
            try:
                commands = HOLDING if self.verb in MEASURES else TRAINED
                run = find_run(reference, plain_value(overrides, "output_root") or "outputs", commands)
                saved = read_saved(run)
                root = self._start_from(saved, key, overrides, problems)
            except ConfigError as error:
                problems.append(Problem(f"{key}={reference}", str(error), COMMAND_LINE))
        if self.verb in OF_A_RUN and saved is None:
            store_saved({}, self.verb)
            if reference is None and not any(override.key_or_group == "run" for override in overrides):
                problems.append(Problem("run", "needs a value: run=NAME, run=@latest or run=./path", COMMAND_LINE))
            self._refuse(problems)
        composed, good = self._compose(root, overrides, problems)
        if self.tree.user is not None:
            self._refuse_hydra(composed, good)
        choices = _choices(composed, saved)
        config = self._check_values(composed, overrides, choices, problems, rename)
        checked = self._look_around(config, choices, saved, run, key, problems)
        self._refuse(problems)
        config = complete(self.verb, config, self.trusted)
        sweep = config.pop("sweep", {})
        return Checked(config=config, choices=choices, root=root, sweep=sweep, **checked)

    def compose(self, texts: Sequence[str]) -> str:
        """Compose without checking values, for what only shows a config; returns the name of the root composed.

        Raises:
            ConfigError: It does not compose.
        """
        overrides, problems = parse_overrides(texts)
        if self.verb in OF_A_RUN or plain_value(overrides, "resume"):
            return self.check(texts).root
        self._compose(self.root, overrides, problems)
        self._refuse(problems)
        return self.root

    # Saved runs

    def _saved_reference(self, overrides: Sequence[Override]) -> tuple[str | None, str]:
        """Return which run the config starts from, if from any, and the key that says so."""
        if self.verb in OF_A_RUN:
            return plain_value(overrides, "run"), "run"
        reference = plain_value(overrides, "resume")
        if reference is None and (plain_value(overrides, "auto_resume") or "").lower() == "true":
            name = plain_value(overrides, "name")
            root = plain_value(overrides, "output_root") or "outputs"
            if name is not None and (Path(root) / name / "run.json").is_file():
                return name, "auto_resume"
        return reference, "resume"

    def _start_from(
        self, saved: dict[str, Any], key: str, overrides: Sequence[Override], problems: list[Problem]
    ) -> str:
        """Hand a saved config to Hydra and return the root to compose; what may not stand beside it is a problem."""
        chosen = [override.key_or_group for override in overrides if override.key_or_group in GROUPS]
        if key == "run":
            problems += _without_effect(self.verb, overrides)
            store_saved(saved, self.verb, without=chosen)
            return self.root
        made_by = saved.get("command")
        if made_by not in (None, self.verb):
            typed = "its own command again" if made_by == "compress" else f"ptft {made_by} resume=..."
            problems.append(Problem(key, f"this run was made by {made_by}; type: {typed}", COMMAND_LINE))
        if key == "auto_resume":
            return self.root  # the whole command is typed again; what differs is found afterwards
        for override in overrides:
            if override.key_or_group == "init_from" and override.value() is not None:
                text = "cannot stand beside resume=: a resumed run has its weights already; drop one of the two"
                problems.append(Problem(str(override.input_line), text, COMMAND_LINE))
            if override.key_or_group in GROUPS and override.key_or_group not in CHOSEN_AGAIN:
                text = "cannot stand beside resume=: a resumed run keeps its own config; drop one of the two"
                problems.append(Problem(str(override.input_line), text, COMMAND_LINE))
        again = [group for group in chosen if group in CHOSEN_AGAIN]
        kept = {name: value for name, value in saved.items() if name not in ("resume", "auto_resume")}
        store_saved({**kept, "resume": None, "auto_resume": False}, self.verb, without=again)
        return RESUMED

    # Composing

    def _compose(self, root: str, overrides: list[Override], problems: list[Problem]) -> tuple[DictConfig, list[str]]:
        """Compose; where Hydra refuses, collect why and compose what is left. Returns the overrides taken too."""
        lines = [str(override.input_line) for override in overrides]
        try:
            return compose(root, lines, return_hydra_config=True), lines
        except Refusals:
            pass
        if root == RESUMED:
            overrides = [o for o in overrides if o.key_or_group not in GROUPS or o.key_or_group in CHOSEN_AGAIN]
        try:
            good, found = explain(root, overrides, self.tree)
            problems += found
            return compose(root, good, return_hydra_config=True), good
        except Refusals as error:
            text = str(error) if isinstance(error, ConfigError) else describe(error)
            problems.append(Problem(root, text, origin.file_named(self.tree, root)))
            raise as_error(self.verb, problems) from None

    def _refuse_hydra(self, composed: DictConfig, overrides: Sequence[str]) -> None:
        """Refuse config files that change Hydra itself: its callbacks and loggers build objects."""
        given = [text for text in overrides if text.lstrip("+~").startswith(("hydra.", "hydra/"))]
        plain: Any = OmegaConf.to_container(compose(None, given, return_hydra_config=True).hydra)
        ours: Any = OmegaConf.to_container(composed.hydra)
        for key in ours:
            if key not in ("runtime", "overrides", "job") and (key not in plain or ours[key] != plain[key]):
                text = "a config file must not change Hydra's own settings; take them out of it"
                raise as_error(self.verb, [Problem(f"hydra.{key}", text, "config file")])

    # Checking

    def _check_values(
        self,
        composed: DictConfig,
        overrides: Sequence[Override],
        choices: dict[str, str],
        problems: list[Problem],
        rename: Renamer | None,
    ) -> dict[str, Any]:
        """Resolve and check; returns the plain config."""
        HydraConfig.instance().set_config(composed)
        own = composed.copy()
        with open_dict(own):
            del own["hydra"]
        config, complaints = resolve(own)
        if "experiment" in choices:
            config["experiment"] = choices["experiment"]
        if config.get("auto_resume") is True and config.get("name") is None:
            complaints.append(("auto_resume", "needs name=: the run of that name is gone on with if there is one"))
        if config.get("auto_resume") is True and config.get("overwrite") is True:
            complaints.append(("overwrite", "cannot stand beside auto_resume=true, which goes on with the run"))
        if rename is not None:
            rename(config, choices)
        broken = {key for key, _ in complaints}
        complaints += [c for c in check_config(self.verb, config, self.trusted) if c[0] not in broken]
        whence = origin.Origins(self.tree, self.root, choices, overrides)
        problems += [Problem(key, message, whence.of(key)) for key, message in complaints]
        return config

    def _look_around(
        self,
        config: dict[str, Any],
        choices: dict[str, str],
        saved: dict[str, Any] | None,
        run: Path | None,
        key: str,
        problems: list[Problem],
    ) -> dict[str, Any]:
        """Find what the config names on the disk, and refuse what must not be changed or written over."""
        found: dict[str, Any] = {"run": None, "resume": None, "init_from": None}
        root = str(config.get("output_root"))
        if saved is not None:
            found["run" if key == "run" else "resume"] = run
        if found["resume"] is not None and saved is not None:
            with contextlib.suppress(ConfigError):  # a target that is refused is told already
                told = {problem.key for problem in problems}
                whole = complete(self.verb, config, self.trusted)
                whole.pop("sweep", None)  # of the command line, not of the run
                complaints = check_resumed(saved, whole)
                problems += [Problem(name, message, COMMAND_LINE) for name, message in complaints if name not in told]
        elif config.get("init_from") is not None:
            try:
                found["init_from"] = find_weights(str(config["init_from"]), root)
            except ConfigError as error:
                problems.append(Problem(f"init_from={config['init_from']}", str(error), COMMAND_LINE))
        found |= _teacher(config, root, problems, resumed=found["resume"] is not None)
        name = config.get("name")
        taken = name is not None and not is_path(str(name)) and "\0" not in f"{root}{name}"
        if found["resume"] is None and taken and not config.get("overwrite") and not problems:
            place = Path(root) / str(name)
            if self.verb == "compress" and is_unfinished(place):
                # Typed again after it was stopped: it goes on, with the stages that are done.
                found["resume"] = place
                return found
            if place.exists():
                resumable = self.verb != "compress" and (place / "run.json").is_file()
                go_on = f"resume={name} goes on with it, " if resumable else ""
                text = f"{place} exists; {go_on}another name= starts beside it, overwrite=true replaces it"
                problems.append(Problem(f"name={name}", text, COMMAND_LINE))
        return found

    def _refuse(self, problems: Sequence[Problem]) -> None:
        if problems:
            raise as_error(self.verb, problems)


def _teacher(config: dict[str, Any], root: str, problems: list[Problem], *, resumed: bool) -> dict[str, Path]:
    """Find the run that `distil.teacher=` names; a resumed run knows its own, unless it has moved."""
    distil = config.get("distil")
    reference = distil.get("teacher") if isinstance(distil, dict) else None
    if reference is None or any(problem.key.startswith("distil") for problem in problems):
        return {}
    try:
        return {"teacher": find_run(str(reference), root)}
    except ConfigError as error:
        if not resumed:
            problems.append(Problem(f"distil.teacher={reference}", str(error), COMMAND_LINE))
        return {}


def _without_effect(verb: str, overrides: Sequence[Override]) -> list[Problem]:
    """Return the overrides that an evaluation or a prediction has no use for: it trains nothing."""
    if verb == "compress":
        return _without_effect_on_compressing(overrides)
    followed = MEASURES[verb]
    trains = {field.name for field in dataclasses.fields(EngineSettings)} - set(followed)
    what = {"evaluate": "an evaluation", "predict": "a prediction"}[verb]
    found = []
    for override in overrides:
        group, _, rest = str(override.key_or_group).partition(".")
        if group in TRAINS_ONLY or (group == "engine" and rest.partition(".")[0] in trains):
            text = f"has no effect on {what}; of engine, {', '.join(followed)} have"
            found.append(Problem(str(override.input_line), text, COMMAND_LINE))
    return found


def _without_effect_on_compressing(overrides: Sequence[Override]) -> list[Problem]:
    """Return the overrides that compressing has no use for: how long its steps train is said by each of them."""
    hints = {
        "engine.max": "how long a step trains is said there: compression.steps.<name>.recover=2ep",
        "engine.stop_at": "how long a step trains is said there: compression.steps.<name>.recover=2ep",
        "engine.early_stopping": "a step trains as long as it says, and keeps its best weights",
        "engine.evaluate_every": "a recovery is evaluated after each quarter",
        "engine.checkpoint_every": "a recovery is kept after each quarter",
        "engine.keep_last": "a recovery keeps its last checkpoint and its best",
        "engine.swa": "a recovery keeps its best weights",
        "engine.profile": "a recovery is not profiled",
        "engine.evaluation_batches": "every example of a split is judged",
        "adapt": "compressing trains all weights",
        "model": "the model is that of the run",
    }
    found = []
    for override in overrides:
        key = str(override.key_or_group)
        name = next((name for name in hints if key == name or key.startswith(f"{name}.")), None)
        if name is not None:
            found.append(
                Problem(str(override.input_line), f"has no effect on compressing: {hints[name]}", COMMAND_LINE)
            )
    return found


def _choices(composed: DictConfig, saved: dict[str, Any] | None) -> dict[str, str]:
    """Return the option taken of each of our groups; the experiment of a saved config stays its name."""
    taken = {str(key): value for key, value in composed.hydra.runtime.choices.items() if key in GROUPS}
    found = {key: str(value) for key, value in taken.items() if value is not None}
    if saved is not None and saved.get("experiment") and "experiment" not in found:
        found["experiment"] = str(saved["experiment"])
    return found
