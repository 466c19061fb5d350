"""The contract of what runs trials: start some, wait for those that end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ptft.sweep.outcome import Outcome


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        number: The number of the trial, and the name of its folder.
        overrides: Its command line in Hydra's grammar.
    """

    number: int
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """A job that has ended.

    Attributes:
        number: The number of its trial.
        outcome: How; None for one that was asked to stop and can go on.
        seconds: How long it ran.
    """

    number: int
    outcome: Outcome | None
    seconds: float


class Runner(Protocol):
    """Runs jobs, some at once."""

    @property
    def free(self) -> int:
        """How many jobs can be started now."""
        ...

    @property
    def busy(self) -> Sequence[int]:
        """The numbers of the jobs that run."""
        ...

    def start(self, job: Job) -> None:
        """Start a job."""
        ...

    def wait(self, seconds: float) -> list[Ended]:
        """Wait for at most so long until a job ends; returns those that have."""
        ...

    def stop(self, *, kill: bool = False) -> None:
        """Ask all jobs to stop, so that they can go on later; or end them at once."""
        ...
