"""A run made ready to predict: no data are read, rows go through the network in batches of like length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ptft.command.build import Builder
from ptft.command.decision import restore_decision
from ptft.command.held import Held
from ptft.command.prediction_format import ERROR
from ptft.command.prediction_input import Row
from ptft.command.training import saved_spec
from ptft.data.data_module import Batch, DataModule
from ptft.engine.evaluate import EVALUATION_BATCH
from ptft.engine.run_dir import RunDirectory
from ptft.errors import CheckpointError, ConfigError, DataError, RowError
from ptft.runtime.precision import Precision
from ptft.task.task import Task

TOKENS = 1 << 14
"""Tokens of a forward pass, about, where `engine.batch_size` is not given."""
WINDOW = 2048
"""Rows that are sorted by length together. Windows begin at multiples of it, so that a prediction that goes on makes
the same batches as one that was never stopped."""


@dataclass(frozen=True)
class Predictor:
    """A run ready to predict.

    Attributes:
        data: Its data, restored.
        task: Its task with its weights, in evaluation mode, on its device.
        device: Where it runs.
        precision: Number type of the forward pass.
        most: Rows of a forward pass at most.
        tokens: Tokens of a forward pass at most, about; None: as many as `most` rows have.
    """

    data: DataModule
    task: Task
    device: torch.device
    precision: Precision
    most: int
    tokens: int | None

    def predict(self, rows: Sequence[Row], *, skip: bool) -> list[dict[str, Any]]:
        """Return what the task says of each row, in order.

        Args:
            rows: The rows.
            skip: Rows that cannot be read get an error in place of a prediction.

        Raises:
            DataError: A row cannot be read, and is not to be skipped.
        """
        found: list[dict[str, Any]] = [{}] * len(rows)
        good = []
        for place, row in enumerate(rows):
            if row.problem:
                found[place] = self._refused(row, row.problem, skip)
            else:
                good.append(place)
        for group in self._groups(rows, good):
            self._predict_group(rows, group, found, skip)
        return found

    def _groups(self, rows: Sequence[Row], places: Sequence[int]) -> Iterator[list[int]]:
        """Yield the places of rows that go through the network together: of like length, few enough."""
        if self.data.spec.kind != "text":
            yield from (list(places[start : start + self.most]) for start in range(0, len(places), self.most))
            return
        spec = self.data.spec
        # Characters stand for tokens, of which there are hardly more. What is cut into windows has no longest one.
        longest = None if spec.target in ("span", "tags") else spec.shape[0]
        whole = spec.output == "causal"  # a text that is gone on with may fill the context
        sizes = {
            place: sum(len(value) for value in rows[place].fields.values() if isinstance(value, str))
            for place in places
        }
        group: list[int] = []
        for place in sorted(places, key=sizes.__getitem__):
            size = sizes[place] + 3
            if longest is not None:
                size = longest if whole else min(size, longest)
            full = self.tokens is not None and size * (len(group) + 1) > self.tokens
            if group and (full or len(group) == self.most):
                yield group
                group = []
            group.append(place)
        if group:
            yield group

    def _predict_group(self, rows: Sequence[Row], places: list[int], found: list[dict[str, Any]], skip: bool) -> None:
        """Predict on some rows and put what comes out in its places."""
        batch, kept = self._batch(rows, places, found, skip)
        if batch is None:
            return
        with torch.no_grad(), self.precision.autocast():
            told = self.task.predict(batch, [rows[place].fields for place in kept])
        assert len(told) == len(kept), f"{type(self.task).__name__}.predict gives something for each row"
        for place, one in zip(kept, told, strict=True):
            found[place] = one

    def _batch(
        self, rows: Sequence[Row], places: list[int], found: list[dict[str, Any]], skip: bool
    ) -> tuple[Batch | None, list[int]]:
        """Return a batch of the rows that can be read, and their places; the others get their error."""
        good: list[int] = []
        left = places
        batch = None
        while left:
            try:
                batch = self.data.batch_of([rows[place].fields for place in left], self.device)
                good += left
                break
            except RowError as error:
                place = left[error.row]
                found[place] = self._refused(rows[place], str(error), skip)
                good += left[: error.row]
                left = left[error.row + 1 :]
                batch = None
        if good and (batch is None or len(good) > len(left)):
            # What stands before a bad row was looked at already, so that this goes well.
            batch = self.data.batch_of([rows[place].fields for place in good], self.device)
        return batch, good

    @staticmethod
    def _refused(row: Row, problem: str, skip: bool) -> dict[str, Any]:
        if not skip:
            raise DataError(f"{row.where}: {problem}. Mend or remove it, or go on without it: on_bad_sample=skip")
        return {ERROR: f"{row.where}: {problem}"}


def prepare(builder: Builder, run: RunDirectory, held: Held, typed: Sequence[str]) -> Predictor:
    """Build the data, which read nothing, and the task of a run, with one of its models.

    Args:
        builder: Builds from the run's config with what was typed on top.
        run: The run.
        held: Which of its models.
        typed: The overrides.

    Raises:
        CheckpointError: The run has not come so far that it knows its data.
        ConfigError: Its task predicts nothing of single examples.
    """
    spec = saved_spec(run.path)
    if spec is None:
        raise CheckpointError(f"{run.path} has no model/preprocessing.json: its training never began; train it first")
    data = builder.unread_data()
    data.restore(spec)
    settings = builder.settings()
    task = held.task(builder, spec)
    kind = type(task)
    if kind.decode is Task.decode and kind.predict is Task.predict:
        raise ConfigError(
            f"{run.path} was trained with the task {kind.__name__}, which says nothing of single examples"
        )
    restore_decision(task, run.path, builder.console.warn)
    task.eval()
    device, precision = held.device(builder), held.precision(builder)
    if any(text.startswith("engine.batch_size=") for text in typed):
        return Predictor(data, task, device, precision, settings.batch_size, None)
    return Predictor(data, task, device, precision, max(settings.batch_size, EVALUATION_BATCH), TOKENS)
