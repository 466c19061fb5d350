"""`ptft predict`: what a run says of new rows, streamed from a file, a folder or a text to a file or a pipe.

Nothing but the output is made: a prediction has no run directory, reads no training data and changes no run.
"""

import shlex
import time
from collections.abc import Mapping
from typing import Any

import torch
from rich.console import Console as RichConsole

from ptft.command.build import Builder
from ptft.command.held import Held, open_held
from ptft.command.prediction_format import ERROR
from ptft.command.prediction_input import Row, Source, open_source, windows
from ptft.command.prediction_model import WINDOW, Predictor, prepare
from ptft.command.prediction_output import Output, Record, open_output
from ptft.config.invocation import Invocation
from ptft.config.prediction import STANDARD
from ptft.engine.console import Console
from ptft.engine.run_dir import RunDirectory
from ptft.engine.signals import StopRequest, terminable
from ptft.errors import ConfigError, Interrupted
from ptft.runtime.progress import progress
from ptft.runtime.records import TOTAL


def run(config: dict[str, Any], invocation: Invocation) -> None:
    """Predict with the run that `run=` names.

    Raises:
        ConfigError: The input is nothing that the run reads, or the output was made otherwise.
        CheckpointError: The run has no such checkpoint, or no model yet.
        DataError: A row cannot be read, and is not to be skipped.
        Interrupted: A signal asked to stop; whole rows are written.
    """
    console = Console(RichConsole(stderr=True, highlight=False))  # standard output is for predictions alone
    assert invocation.run is not None, "the config is checked: run= names a run"
    parent = RunDirectory.reopen(invocation.run)
    held = open_held(parent, str(config["checkpoint"]))
    builder = Builder(config, invocation.trusted, console)
    predictor = prepare(builder, parent, held, invocation.overrides)
    source = open_source(config, predictor.data)
    facts = _facts(config, parent, held, predictor, source)
    console.say(f"{parent.path}, {held.title}, {predictor.device}")
    with terminable(), open_output(config, facts, predictor.data.spec.classes) as output:
        try:
            with StopRequest().listening() as stop:
                counts = _predict(config, predictor, source, output, stop)
        except Interrupted as stopped:
            raise Interrupted(_going_on(stopped, config, invocation, output), stopped.exit_code) from None
        output.finish()
        console.say(counts.told(output, predictor))


class _Counts:
    """What went through in this command, and how long that took."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.rows = self.errors = 0
        self._begin = time.monotonic()

    def add(self, records: list[Record]) -> None:
        """Count rows that were written."""
        self.rows += len(records)
        self.errors += sum(ERROR in record for record in records)

    def told(self, output: Output, predictor: Predictor) -> str:
        """Return the last line: rows, seconds, what to know of them, and where they are."""
        seconds = time.monotonic() - self._begin
        rows = f"{self.rows:,} {'row' if self.rows == 1 else 'rows'}"
        parts = [f"{rows} in {seconds:.1f} s ({self.rows / max(seconds, 1e-6):,.0f} a second)"]
        parts += [f"after {self.before:,} that were there"] if self.before else []
        parts += [f"{self.errors:,} could not be read"] if self.errors else []
        cut = getattr(predictor.data, "num_truncated", 0)
        parts += [f"{cut:,} longer than {predictor.data.spec.shape[0]} tokens were cut"] if cut else []
        return f"{', '.join(parts)}: {output.told()}"


def _predict(
    config: Mapping[str, Any], predictor: Predictor, source: Source, output: Output, stop: StopRequest
) -> _Counts:
    """Send all rows through, window by window; those that the output holds are only held against it."""
    start, done, skip = output.rows, 0, config["on_bad_sample"] == "skip"
    counts = _Counts(start)
    rows = windows(source.rows, WINDOW)
    with progress("predicting", source.total, source.unit, done=start) as advance:
        while True:
            with stop.at_once():
                window = next(rows, None)
            if window is None:
                break
            if done < start <= done + len(window):
                _check_last(window[start - done - 1], output)
            if done + len(window) > start:
                torch.manual_seed(done)  # what is drawn while text is made depends on the place of a row alone
                records = [
                    _record(row, said) for row, said in zip(window, predictor.predict(window, skip=skip), strict=True)
                ]
                stop.check()
                fresh = records[max(start - done, 0) :]
                output.write(fresh)
                counts.add(fresh)
                advance(len(fresh))
            done += len(window)
    if done < start:
        raise ConfigError(
            f"{output.told()} holds {start:,} rows, and the input only {done:,}; it is not the same input"
        )
    if not done:
        raise ConfigError("the input holds no rows")
    return counts


def _record(row: Row, said: Mapping[str, Any]) -> Record:
    """Return a row of the output: its name, what is repeated of the input, and what the task says."""
    record = {"id": row.id}
    for name, value in row.kept.items():
        record[f"input.{name}" if name in said or name == "id" else name] = value
    record.update(said)
    return record


def _check_last(row: Row, output: Output) -> None:
    """Hold the last row that is there against the same row of the input.

    Raises:
        ConfigError: They are not the same.
    """
    last = output.last or {}
    for name, value in output.shown({"id": row.id, **row.kept}).items():
        before = last.get(f"input.{name}", last.get(name))
        if before != value:
            raise ConfigError(
                f"the last of {output.rows:,} rows in {output.told()} has {name} {before!r}, and the input has "
                f"{value!r} there; it is not the same input. overwrite=true starts anew"
            )


def _facts(
    config: Mapping[str, Any], run: RunDirectory, held: Held, predictor: Predictor, source: Source
) -> dict[str, Any]:
    """Return what the rows of this prediction are made from; a prediction that goes on has the same facts."""
    own = {key: config[key] for key in ("columns", "id", "keep", "on_bad_sample")}
    return {
        "run": run.id,
        "checkpoint": held.digest,
        **source.facts,
        TOTAL: source.total,
        **own,
        "task": config["task"],
        "data": {key: value for key, value in config["data"].items() if key != "path"},
        "precision": predictor.precision.name,
        "device": predictor.device.type,
        "batch": [predictor.most, predictor.tokens, WINDOW],
    }


def _going_on(stopped: Interrupted, config: Mapping[str, Any], invocation: Invocation, output: Output) -> str:
    """Return what to tell of a prediction that was stopped: what there is, and the command that goes on."""
    held = f"{stopped}: {output.rows:,} {'row is' if output.rows == 1 else 'rows are'} written"
    if config["output"] == STANDARD or not output.rows:
        return held
    words = [word for word in invocation.argv if word.partition("=")[0] not in ("resume", "overwrite")]
    return f"{held}\ngo on with: {shlex.join([*words, 'resume=true'])}"
