"""The stages of a compression, one after the other: each made, exported, judged on validation, and kept.

A stage that breaks the gate is kept for the record; what follows goes on from the last network that passed.
"""

import copy
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptft.command.report import summarise
from ptft.command.stages import PARENT, Stage, StageStore, load_weights, save_weights, stage_key
from ptft.command.workbench import Workbench, agreement
from ptft.compression.behind import with_network
from ptft.compression.cost import count_parameters, multiply_adds, network_inputs, sparsity
from ptft.compression.export import export_onnx
from ptft.compression.stage_result import drop_of
from ptft.compression.step import ExportStep, NetworkStep, Step
from ptft.engine.evaluate import Evaluation
from ptft.errors import ConfigError
from ptft.model.artefact import ArtefactNetwork
from ptft.runtime.duration import Duration
from ptft.task.task import Task


@dataclass(frozen=True)
class Named:
    """A step of a pipeline.

    Attributes:
        name: Its name in the pipeline.
        step: The step.
        settings: Those it was built from.
    """

    name: str
    step: Step
    settings: Mapping[str, Any]

    def durations(self) -> Iterator[Duration]:
        """Yield how long it trains, wherever its settings say so.

        Raises:
            ConfigError: It is said as a share, of which there is no whole.
        """
        for key, value in self.settings.items():
            try:
                duration = Duration.parse(str(value), key) if isinstance(value, str) else None
            except ConfigError:
                continue  # a word
            if duration is not None and duration.unit == "%":
                raise ConfigError(
                    f"{key}={value} is a share, and there is nothing that it is a share of; say 2ep or 500st"
                )
            if duration is not None:
                yield duration


class Pipeline:
    """Makes stages, or finds those that are done already."""

    def __init__(self, bench: Workbench, store: StageStore) -> None:
        self.bench = bench
        self.store = store
        self.stages: list[Stage] = []

    def run(self, steps: Sequence[Named]) -> list[Stage]:
        """Make the parent and a stage for each step, in order, and return them all."""
        current = self.parent()
        for named in steps:
            stage = self.make(named, current)
            if stage.network and stage.passed is not False:
                current = stage
        return self.stages

    def parent(self) -> Stage:
        """Return the uncompressed network, exported: what every stage is compared with in its own runtime."""
        key = stage_key({}, self.bench.held.digest, self._context())
        found = self.store.find(0, PARENT, key)
        if found is None:
            begun = time.monotonic()
            folder = self.store.begin(0, PARENT, key)
            export_onnx(self.bench.parent, self.bench.example(), folder / "artefact")
            found = self._finish(Stage(name=PARENT, folder=folder, key=key), self.bench.parent, begun)
        return self._add(found)

    def make(self, named: Named, source: Stage) -> Stage:
        """Return the stage of a step that goes on from another stage's network."""
        # Of the gate, only what is exported may hang on it: int8 is trained where it would break it.
        gate = {"max_drop": self.bench.compression["max_drop"]} if isinstance(named.step, ExportStep) else {}
        key = stage_key(named.settings, source.key, {**self._context(), **gate})
        number = len(self.stages)
        found = self.store.find(number, named.name, key)
        if found is not None:
            self.bench.builder.console.say(f"{named.name}: done already")
            return self._add(found)
        self.bench.builder.console.say(f"{named.name}: {_described(named.settings)}")
        begun = time.monotonic()
        folder = self.store.begin(number, named.name, key)
        task, stage = self.task_of(source), Stage(
            name=named.name, folder=folder, key=key, source=source.name, settings=dict(named.settings)
        )  # fmt: skip
        bench = dataclasses.replace(self.bench, folder=folder)
        if isinstance(named.step, NetworkStep):
            edits = [*source.edits, *(dict(edit) for edit in named.step.apply(task, bench))]
            aliases = save_weights(folder, task)
            export_onnx(task, self.bench.example(), folder / "artefact")
            stage = dataclasses.replace(stage, edits=edits, aliases=aliases)
        else:
            assert isinstance(named.step, ExportStep), type(named.step)
            named.step.apply(task, source.artefact, folder / "artefact", bench)
            stage = dataclasses.replace(stage, network=False)
        return self._add(self._finish(stage, task, begun))

    def task_of(self, stage: Stage) -> Task:
        """Return a task with the network of a stage."""
        if stage.name == PARENT:
            return with_network(self.bench.parent, copy.deepcopy(self.bench.parent.get_submodule("model")))
        task = self.bench.network_of(stage.edits)
        load_weights(stage, task)
        return task

    def exported(self, stage: Stage) -> Task:
        """Return a task behind whose `forward` the artefact of a stage stands."""
        return with_network(self.bench.parent, ArtefactNetwork(stage.artefact, self.bench.threads))

    def evaluation(self, stage: Stage, split: str = "val") -> Evaluation:
        """Return the evaluation of a stage through its artefact."""
        return self.bench.evaluation(self.exported(stage), split, with_intervals=True)

    def _finish(self, stage: Stage, task: Task, begun: float) -> Stage:
        """Judge a stage on validation through its artefact, and write what it is."""
        result = self.evaluation(stage)
        value = result.metrics[task.headline.name]
        allowed = self.bench.allowed_drop()
        # A ruined network may give no number at all: that is no pass.
        within = stage.name == PARENT or (allowed is not None and self.bench.drop(value) <= allowed + 1e-12)
        passed = None if allowed is None else within
        network, inputs = task.get_submodule("model"), network_inputs(task, self.bench.example(1))
        stage = dataclasses.replace(
            stage,
            metrics=summarise(result, "val"),
            agreement=agreement(self.bench.baseline.records, result.records),
            drop=drop_of(task.headline, self.bench.baseline.metrics[task.headline.name], value),
            passed=passed,
            parameters=count_parameters(network),
            multiply_adds=multiply_adds(network, inputs),
            sparsity=sparsity(network),
            seconds=round(time.monotonic() - begun, 1),
        )
        self.bench.say(self._told(stage, value))
        return self.store.finish(stage)

    def _told(self, stage: Stage, value: float) -> str:
        headline = self.bench.parent.headline
        unit = "points" if headline.mode == "max" else "%"
        gate = f": more than max_drop={self.bench.compression['max_drop']:g}" if stage.passed is False else ""
        return f"val/{headline.name} {value:.4f}, {stage.drop:+.2f} {unit} lost{gate}; {stage.artefact.bytes:,} bytes"

    def _add(self, stage: Stage) -> Stage:
        self.stages.append(stage)
        return stage

    def _context(self) -> dict[str, Any]:
        """Return what decides of every stage beside its step: how recoveries train, and on what."""
        config = self.bench.builder.config
        groups = ("data", "model", "task", "augmentation", "optimizer", "schedule", "engine")
        return {
            **{group: config.get(group) for group in groups},
            "recovery": self.bench.compression["recovery"],
            "fingerprint": self.bench.data.spec.fingerprint,
        }


def _described(settings: Mapping[str, Any]) -> str:
    """Return the settings of a step in a line."""
    name = str(settings["_target_"]).rpartition(".")[2]
    values = ", ".join(f"{key}={value}" for key, value in settings.items() if key != "_target_" and value is not None)
    return f"{name} ({values})" if values else name
