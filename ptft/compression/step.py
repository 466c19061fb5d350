"""The contract of a compression step: one file, one YAML; a pipeline is a mapping of named steps.

    network steps   change the task's network in place and tell how, so that a resumed pipeline builds it again
    export steps    write the network in a form of its own - int8, fp16 - that runs without torch

A step sees the training data alone; choices and gates look at validation, through the workshop.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from ptft.data.data_module import Batch, DataSpec
from ptft.model.artefact import Artefact
from ptft.runtime.hook import Hook
from ptft.task.task import Task

Edit = Mapping[str, Any]
"""How a network differs from the one before it, as plain JSON values (`ptft.compression.structure`)."""


class Workshop(Protocol):
    """What the pipeline lends to a step."""

    @property
    def spec(self) -> DataSpec:
        """What the data know."""
        ...

    @property
    def parent(self) -> Task:
        """The uncompressed task, on the CPU, in evaluation mode; never changed."""
        ...

    @property
    def folder(self) -> Path:
        """A folder for what the step writes on its way; what it wrote before it was stopped may lie there."""
        ...

    @property
    def seed(self) -> int:
        """Seed of whatever a step draws."""
        ...

    @property
    def threads(self) -> int:
        """Threads of a runtime."""
        ...

    def say(self, text: str) -> None:
        """Tell a person what was done."""
        ...

    def warn(self, text: str) -> None:
        """Tell a person what they should know."""
        ...

    def batches(self, num_examples: int, batch_size: int = 32) -> Iterator[Batch]:
        """Yield training examples, prepared as for evaluation, the same every time: on the CPU, `num_examples` or all.

        They lie in the order of the loader, which is mixed; validation and test are never among them.
        """
        ...

    def steps(self, duration: str) -> int:
        """Return how many optimizer steps `recover` takes in a duration such as `5ep`."""
        ...

    def recover(
        self,
        task: Task,
        duration: str,
        hooks: Sequence[Hook] = (),
        *,
        part: str = "recover",
        keep: Literal["best", "last"] = "best",
    ) -> None:
        """Train a task in place through the engine, the parent as its teacher.

        Args:
            task: The task to train, in evaluation mode again afterwards.
            duration: How long: `5ep`, `200st`.
            hooks: What happens at certain steps.
            part: Names this training among several of one step, so that a stopped one goes on.
            keep: Which weights it comes back with: the best on validation, or those after the last step.
        """
        ...

    def evaluate(self, task: Task) -> float:
        """Return the headline metric on validation, in the metric's own unit (0.93, not 93 points)."""
        ...

    def allowed_drop(self) -> float | None:
        """Return by how much the headline may fall against the parent, in the metric's own unit; None: no gate."""
        ...

    def drop(self, value: float) -> float:
        """Return by how much a headline value is worse than the parent's, in the metric's own unit."""
        ...


class Step(ABC):
    """One step of a pipeline; what a config may set are keyword arguments of its constructor."""

    walks: tuple[str, ...] = ()
    """Settings that say how much the step takes away, as a share of what there is; a search walks them together."""

    undone_by_training: bool = False
    """True: training afterwards would undo what the step did, so that it must be the last to change the network."""

    @abstractmethod
    def check(self, task: Task, spec: DataSpec) -> None:
        """Find what cannot be done before anything is trained or written; changes nothing.

        Raises:
            ConfigError: The step does not fit the task, its network, or what is installed.
        """


class NetworkStep(Step):
    """A step that changes the network."""

    @abstractmethod
    def apply(self, task: Task, workshop: Workshop) -> Sequence[Edit]:
        """Change the network of a task in place, recover by training, and return the edits that lead there."""


class ExportStep(Step):
    """A step that writes the network in another form; the network itself stays as it is."""

    @abstractmethod
    def apply(self, task: Task, exported: Artefact, folder: Path, workshop: Workshop) -> Artefact:
        """Write an artefact into an empty folder.

        Args:
            task: The task as the network steps left it; a step that trains works on a copy.
            exported: The same network as fp32 ONNX.
            folder: Where.
            workshop: Training examples, and the engine.
        """
