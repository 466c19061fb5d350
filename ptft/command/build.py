"""From a checked config to objects, in order: data, model and task, weights, adaptation, plan, optimizers, engine.

Below this floor nothing sees a config: every class takes plain arguments.
"""

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ptft.adapt.adapt import Adapt, describe
from ptft.adapt.load import load_weights
from ptft.command.source import read_source
from ptft.config.resolve import component_class, instantiate
from ptft.data.data_module import BatchPlan, DataModule, DataSpec
from ptft.engine.checkpoint import Checkpoint, CheckpointStore
from ptft.engine.console import Console
from ptft.engine.engine import Engine
from ptft.engine.hooks import Hooks
from ptft.engine.objective import Objective
from ptft.engine.optimize import PhaseOptimizer
from ptft.engine.plan import Plan, apply_attention, apply_memory_format, resolve_plan
from ptft.engine.recorder import Recorder
from ptft.engine.run_dir import RunDirectory
from ptft.engine.settings import EarlyStoppingSettings, EmaSettings, EngineSettings, SwaSettings
from ptft.engine.weights import load_for_evaluation
from ptft.errors import ConfigError
from ptft.logger.logger import Logger
from ptft.optimizer.groups import embedding_names, parameter_groups
from ptft.optimizer.layers import lr_scales
from ptft.optimizer.lean import skip_compiler
from ptft.optimizer.settings import OptimizerSettings
from ptft.runtime.device import choose_device, set_deterministic
from ptft.runtime.duration import Clock, Duration
from ptft.runtime.precision import Precision
from ptft.schedule.schedule import WarmedUp
from ptft.task.task import Task

Config = Mapping[str, Any]
_COMMON = tuple(field.name for field in dataclasses.fields(OptimizerSettings) if field.name != "phases")


@dataclass(frozen=True)
class Builder:
    """Builds the objects of one command.

    Attributes:
        config: The checked config.
        trusted: Packages whose classes a `_target_` may name.
        console: Where it is told what was built.
    """

    config: Config
    trusted: Sequence[str]
    console: Console

    def make(self, group: str, *supplied: Any) -> Any:
        """Build the component that stands under a config group."""
        return instantiate(self.config[group], *supplied, trusted=self.trusted, group=group)

    def make_all(self, group: str, *supplied: Any) -> list[Any]:
        """Build the named components of a group, in their order."""
        nodes = self.config.get(group) or {}
        return [instantiate(node, *supplied, trusted=self.trusted, group=group) for node in nodes.values()]

    def settings(self) -> EngineSettings:
        """Return the engine's settings."""
        values = dict(self.config["engine"])
        nested: dict[str, type[Any]] = {"ema": EmaSettings, "swa": SwaSettings, "early_stopping": EarlyStoppingSettings}
        for name, kind in nested.items():
            if values.get(name) is not None:
                values[name] = kind(**values[name])
        return EngineSettings(**values)

    def data(self, spec: DataSpec | None = None, weights: Path | None = None) -> DataModule:
        """Build and set up the data set.

        Args:
            spec: That of a run which the data must fit.
            weights: Where the weights of a new run come from; the data take over what those expect.
        """
        data = self.unread_data()
        if weights is not None:
            data.start_from(weights)
        data.setup(spec)
        self.console.say(data.describe())
        for warning in data.warnings():
            self.console.warn(warning)
        return data

    def unread_data(self) -> DataModule:
        """Build the data set without reading anything."""
        if self.config.get("offline"):
            os.environ["HF_HUB_OFFLINE"] = "1"  # the switch that every download looks at
        data: DataModule = self.make("data", self.make_all("augmentation"))
        return data

    def task(self, spec: DataSpec, seed: int) -> Task:
        """Build the model, for the output that the task wants, and the task around it; the seed decides the weights."""
        spec = self.wanted(spec)
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            # A model of data without labels has a head of no classes; that is meant.
            warnings.filterwarnings("ignore", "Initializing zero-element tensors is a no-op")
            model = self.make("model", spec)
        task = self.task_around(model, spec)
        mixing = [type(step).__name__ for step in self.make_all("augmentation") if getattr(step, "mixes_labels", False)]
        if mixing and not task.mixed_labels:
            raise ConfigError(
                f"{mixing[0]} mixes images and their labels, but task {type(task).__name__} reads no mixed labels; "
                "choose an augmentation without it (`ptft list augmentations` names them)"
            )
        return task

    def wanted(self, spec: DataSpec) -> DataSpec:
        """Return what the data know together with what the task wants of its network."""
        kind = component_class(self.config["task"], trusted=self.trusted, group="task")
        return dataclasses.replace(spec, output=getattr(kind, "output", Task.output))

    def task_around(self, network: nn.Module, spec: DataSpec) -> Task:
        """Build the task around a network that is there already: an exported one, say."""
        task: Task = self.make("task", network, self.wanted(spec))
        return task

    def initialise(self, task: Task, source: Path | None) -> None:
        """Load the weights that `init_from` names, add and freeze what `adapt` says."""
        network = network_of(task)
        if source is not None:
            tensors, labels = read_source(source, network)
            partial = bool(self.config.get("init_partial"))
            report = load_weights(
                network, tensors, partial=partial, classes_match=labels is not None and labels == task.label_names()
            )
            self.console.say(f"initialised from {source}: {report.describe()}")
        adapt = self.adapt()
        adapt.structure(network)
        adapt.apply(network)
        self.console.say(describe(task))

    def restore(self, task: Task, checkpoint: Checkpoint) -> None:
        """Give a fresh task the weights of a checkpoint as they are evaluated and handed over: averaged and merged."""
        self.adapt().structure(network_of(task))
        self.finish(task, checkpoint)

    def finish(self, task: Task, checkpoint: Checkpoint, adapter: Path | None = None, base: str = "") -> None:
        """Give a trained task the weights of a checkpoint, averaged and merged; it is not trained any more.

        Args:
            task: The task.
            checkpoint: The checkpoint.
            adapter: Where what the adaptation added is written before it is merged; None: nowhere.
            base: What the weights that the run started from are called.
        """
        load_for_evaluation(task, checkpoint)
        network = network_of(task)
        if adapter is not None and (line := self.adapt().write(network, adapter, base)):
            self.console.say(line)
        self.adapt().merge(network)

    def adapt(self) -> Adapt:
        """Build the adaptation."""
        made: Adapt = self.make("adapt")
        return made

    def place(self, task: Task, data: DataModule, settings: EngineSettings, saved: Plan | None) -> Plan:
        """Move the task to its device and resolve what is `auto`; a resumed run brings its saved plan."""
        device = choose_device(settings.device)
        set_deterministic(settings.deterministic)
        task.to(device)
        if saved is not None and saved.device == device.type:
            apply_memory_format(task, saved.memory_format)
            apply_attention(task, saved.attention)
            return saved
        task.train()
        loader = data.train_loader(
            BatchPlan(
                batch_size=settings.batch_size,
                seed=settings.seed,
                views=task.views,
                device=device,
                transform=task.own_transform,
            )
        )
        return resolve_plan(settings, task, next(iter(loader)), self.console.warn)

    def clock(self, data: DataModule, settings: EngineSettings) -> Clock:
        """Return what turns durations into steps, with the length of the whole training."""
        clock = Clock(settings.batch_size, data.num_examples)
        return Clock(settings.batch_size, data.num_examples, Duration.parse(settings.max, "engine.max").steps(clock))

    def optimizers(self, task: Task, clock: Clock, plan: Plan, clip_norm: float | None) -> dict[str, PhaseOptimizer]:
        """Build one optimizer and schedule a phase.

        Raises:
            ConfigError: A phase that the task does not have, or nothing to train.
        """
        node = dict(self.config["optimizer"])
        overrides = node.pop("phases") or {}
        unknown = sorted(set(overrides) - set(task.phases))
        if unknown:
            raise ConfigError(f"optimizer.phases.{unknown[0]}: this task has the phases {', '.join(task.phases)}")
        if not self.config["engine"]["compile"]:
            skip_compiler()
        scaler = Precision(plan.precision, torch.device(plan.device)).scaler()
        optimizers = {}
        for phase in task.phases:
            parameters = task.parameters_of(phase)
            if not parameters:
                raise ConfigError(f"phase {phase} has nothing to train: adapt froze all of its parameters")
            settings = {**node, **(overrides.get(phase) or {})}
            common = OptimizerSettings(**{name: settings[name] for name in _COMMON})
            scales = lr_scales(
                task.get_submodule(phase),
                parameters,
                prefix=f"{phase}.",
                layer_decay=common.layer_decay,
                head_multiplier=common.head_multiplier,
            )
            groups = parameter_groups(parameters, embedding_names(task), decay_all=common.decay_all, scales=scales)
            optimizer = instantiate(settings, groups, trusted=self.trusted, group="optimizer")
            schedule = self.schedule(clock)
            optimizers[phase] = PhaseOptimizer(optimizer, schedule, scaler, clip_norm=clip_norm, l1=common.l1)
        return optimizers

    def schedule(self, clock: Clock) -> WarmedUp:
        """Build the schedule behind its warm-up."""
        node = dict(self.config["schedule"])
        max_steps = clock.max_steps or 0
        asked = Duration.parse(node.pop("warmup"), "schedule.warmup").steps(clock)
        warmup = min(asked, max_steps)
        if asked > max_steps:
            self.console.warn(f"schedule.warmup is {asked} steps, the training {max_steps}: it is all warm-up")
        schedule = instantiate(node, trusted=self.trusted, group="schedule")
        schedule.setup(Clock(clock.batch_size, clock.num_examples, max_steps - warmup))
        return WarmedUp(schedule, warmup, max_steps)

    def engine(
        self, task: Task, data: DataModule, settings: EngineSettings, plan: Plan, run: RunDirectory, step: int
    ) -> Engine:
        """Build the engine of a training that starts at `step`."""
        clock = self.clock(data, settings)
        wanted = self.config.get("objective")
        # A sweeper compares all of several, so all are checked; the first one decides what is best.
        texts = wanted if isinstance(wanted, list) and wanted else [wanted or None]
        objective, *_ = [Objective.parse(text, task.headline) for text in texts]
        loggers: list[Logger] = self.make_all("logger", run.path, step)
        engine = Engine(
            task,
            data,
            self.optimizers(task, clock, plan, settings.clip_norm),
            settings,
            plan=plan,
            clock=clock,
            objective=objective,
            store=CheckpointStore(run.checkpoints, run.id, settings.keep_last),
            recorder=Recorder(run, loggers),
            console=self.console,
        )
        engine.hooks = Hooks(self.adapt().hooks(network_of(task), clock))
        for hook in engine.hooks.hooks:
            self.console.say(hook.describe())
        return engine


def network_of(task: Task) -> nn.Module:
    """Return the network that weights are loaded into: the task's model, or all networks of a task with phases."""
    return task.get_submodule(task.phases[0]) if len(task.phases) == 1 else task
