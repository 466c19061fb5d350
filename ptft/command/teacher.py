"""The teacher of a distilled run: found by the run that is named, built from that run's own config, verified on resume.

run.json keeps it among the parents, with the digest of its checkpoint: a run that goes on does so with the same
teacher, or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ptft.command.build import Builder
from ptft.config.invocation import Invocation
from ptft.config.keys import DistilSettings
from ptft.config.saved import read_saved
from ptft.config.schema import check_config
from ptft.data.data_module import DataSpec
from ptft.engine.checkpoint import Checkpoint, CheckpointStore
from ptft.engine.run_dir import RunDirectory
from ptft.errors import CheckpointError, ConfigError, DataError
from ptft.runtime.find import TRAINED
from ptft.task.distillation import Distillation
from ptft.task.task import Task

ROLE = "teacher"
"""How run.json marks the teacher among the parents (`as`)."""


@dataclass(frozen=True)
class Teacher:
    """A trained run to learn from.

    Attributes:
        run: The run.
        checkpoint: Which of its checkpoints.
        settings: How much is learnt from it.
    """

    run: RunDirectory
    checkpoint: Checkpoint
    settings: DistilSettings

    def task(self, builder: Builder, spec: DataSpec | None) -> Task:
        """Build the teacher as its run left it, averaged and merged, without reading its data.

        Args:
            builder: Of the run that learns; whom it trusts, and where it is told.
            spec: What the teacher's run knows of its data.

        Raises:
            ConfigError: Its config holds what must not be built.
            CheckpointError: The run has not come so far that it knows its data.
        """
        path = self.run.path
        if spec is None:
            raise CheckpointError(f"{path} has no model/preprocessing.json: its training never began; train it first")
        own = Builder(_checked_config(path, builder.trusted), builder.trusted, builder.console)
        task = own.task(spec, own.settings().seed)
        own.restore(task, self.checkpoint)
        size = sum(parameter.numel() for parameter in task.parameters())
        builder.console.say(f"teacher {path}, step {self.checkpoint.step}: {size:,} parameters")
        return task.eval()

    def over(self, task: Task, teacher: Task) -> Distillation:
        """Return a task that learns from its teacher too.

        Raises:
            ConfigError: The two do not fit.
            DataError: They know other classes, or read examples in other ways.
        """
        settings = asdict(self.settings)
        settings = {name: settings[name] for name in ("temperature", "share", "hidden", "attention")}
        try:
            return Distillation(task, teacher, **settings)
        except (ConfigError, DataError) as error:
            raise type(error)(f"distil.teacher={self.settings.teacher}: {error}") from None


def find_teacher(config: Mapping[str, Any], invocation: Invocation, run: RunDirectory, *, new: bool) -> Teacher | None:
    """Return the teacher that the config names, or None, and record it among the parents of the run.

    Args:
        config: The config of the run.
        invocation: What was found for it.
        run: The run that learns.
        new: Whether it begins, and has no checkpoint to go on from.

    Raises:
        ConfigError: A run that goes on has another teacher than it began with, or what is named is no trained run.
        CheckpointError: The teacher is gone, or changed since.
    """
    before = next((parent for parent in run.record.get("parents", []) if parent.get("as") == ROLE), None)
    if config.get("distil") is None or (before is None and not new):
        if config.get("distil") is None and before is None:
            return None
        raise ConfigError(
            f"{run.path} began {'with' if before else 'without'} a teacher (distil) and goes on so; "
            "a new run with its weights starts with init_from= in place of resume="
        )
    settings = DistilSettings(**config["distil"])
    teacher = _reopened(before, invocation, settings)
    if teacher.record["command"] not in TRAINED:
        raise ConfigError(
            f"distil.teacher={settings.teacher}: {teacher.path} is a run of {teacher.record['command']}, which trains "
            f"no model; name one of {' or '.join(TRAINED)}"
        )
    named = str(settings.checkpoint if before is None else before["step"])  # which was the best then
    checkpoint = CheckpointStore(teacher.checkpoints, teacher.id).load_named(named)
    entry = {"id": teacher.id, "name": teacher.record["name"], "checkpoint": checkpoint.digest, "as": ROLE}
    if before is None:
        entry |= {"step": checkpoint.step, "path": str(teacher.path)}
        run.save(parents=[*run.record.get("parents", []), entry])
    elif before["checkpoint"] != checkpoint.digest:
        raise CheckpointError(
            f"the teacher {teacher.path} changed since {run.path} began: expected checkpoint "
            f"{before['checkpoint'][:12]} of step {named}, found {checkpoint.digest[:12]}. Bring the old one back, or "
            "start a new run"
        )
    return Teacher(teacher, checkpoint, settings)


def _reopened(before: Mapping[str, Any] | None, invocation: Invocation, settings: DistilSettings) -> RunDirectory:
    """Open the teacher: where it lay when the run began, else where it is named now.

    Raises:
        CheckpointError: It is in neither place.
    """
    places = [Path(str(before["path"]))] if before is not None else []
    places += [invocation.teacher] if invocation.teacher is not None else []
    for place in places:
        if (place / "run.json").is_file():
            teacher = RunDirectory.reopen(place)
            if before is None or teacher.id == before["id"]:
                return teacher
    raise CheckpointError(
        f"the teacher that this run began with, run {before['id'] if before else settings.teacher}, is no longer at "
        f"{' or '.join(map(str, places))}; bring it back, or say where it is now: distil.teacher=./folder"
    )


def _checked_config(run: Path, trusted: Sequence[str]) -> dict[str, Any]:
    """Return the config of a run, which may name nothing but what ptft builds.

    Raises:
        ConfigError: It is not right.
    """
    config = read_saved(run)
    complaints = check_config(str(config.get("command")), config, trusted)
    if complaints:
        told = "; ".join(f"{key} {message}" for key, message in complaints[:3])
        raise ConfigError(f"the config of the teacher {run} is not right: {told}")
    return config
