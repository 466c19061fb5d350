"""Trials by one of Hydra's launchers (joblib, submitit): several at a time, and all are waited for."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ptft.sweep.outcome import failed, read_outcome
from ptft.sweep.runner import Ended, Job

Launch = Callable[[Sequence[Sequence[str]], int], Any]
"""Hydra's `Launcher.launch`: the overrides of each job, the number of the first."""


class Batches:
    """Collects jobs until nobody starts more, then lets a launcher run them all."""

    def __init__(self, launch: Launch, folder: Path, *, parallel: int) -> None:
        """Set who runs them.

        Args:
            launch: The launcher.
            folder: The folder of the sweep.
            parallel: How many jobs make a batch.
        """
        self.launch = launch
        self.folder = folder
        self.parallel = parallel
        self._waiting: list[Job] = []

    @property
    def free(self) -> int:
        """How many jobs the batch still takes."""
        return self.parallel - len(self._waiting)

    @property
    def busy(self) -> list[int]:
        """The numbers of the jobs in the batch."""
        return [job.number for job in self._waiting]

    def start(self, job: Job) -> None:
        """Put a job into the batch."""
        self._waiting.append(job)

    def wait(self, seconds: float) -> list[Ended]:
        """Run the batch to its end, however long it takes."""
        batch, self._waiting = self._waiting, []
        began = time.monotonic()
        trouble = self._launch(batch)
        # A worker that was killed ends its whole batch: those that are done have said so, the others run alone, so that
        # the one to blame is found.
        for job in [job for job in batch if len(batch) > 1 and self._silent(job)]:
            trouble = self._launch([job])
            if self._silent(job):
                self._blame(job, trouble)
        took = time.monotonic() - began
        for job in batch:
            if self._silent(job):
                self._blame(job, trouble)
        return [Ended(job.number, read_outcome(self._folder(job)), took / len(batch)) for job in batch]

    def stop(self, *, kill: bool = False) -> None:
        """Forget jobs that have not begun; those that have are the launcher's."""
        self._waiting = []

    def _launch(self, batch: Sequence[Job]) -> Exception | None:
        """Let the launcher run jobs; returns what it raised."""
        # Numbers of a batch need not follow each other: the folder tells a job which trial it is.
        lines = [[*job.overrides, f"hydra.sweep.subdir={job.number}"] for job in batch]
        try:
            if lines:
                self.launch(lines, batch[0].number)
        except Exception as error:
            return error
        return None

    def _folder(self, job: Job) -> Path:
        return self.folder / str(job.number)

    def _silent(self, job: Job) -> bool:
        """Tell whether nothing is known of how a job ended."""
        return read_outcome(self._folder(job)) is None

    def _blame(self, job: Job, trouble: Exception | None) -> None:
        """Leave word of a job whose process could not."""
        failed(trouble or RuntimeError("its process ended without a word")).write(self._folder(job))
