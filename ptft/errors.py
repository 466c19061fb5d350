"""Everything ptft says to a person when it cannot go on: one class a cause, one exit code each.

A `PtftError` is shown as its message alone, without a traceback; any other exception is a bug of ours and keeps its
traceback. Messages say what was expected, what was found and what to do next.
"""

DONE, FAILED, USAGE, GATE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
"""Exit codes: done; failed while running; wrong usage or config; a gate was not met; after SIGINT; after SIGTERM."""


class PtftError(Exception):
    """A problem the user can understand and mend; shown without a traceback."""

    exit_code = FAILED


class ConfigError(PtftError):
    """The command line or a config file asks for something that does not exist or does not fit."""

    exit_code = USAGE


class DataError(PtftError):
    """A data set is missing, empty or not what it should be."""


class RowError(DataError):
    """A row that a user gave cannot be read; `row` is its place among those given."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


class CheckpointError(PtftError):
    """A checkpoint or a run directory is missing, damaged, locked or of another model."""


class FetchError(PtftError):
    """A file is not here and could not be fetched, or may not be."""


class DivergedError(PtftError):
    """Training met a loss or a gradient that is not a finite number."""


class GateError(PtftError):
    """A run finished, but its metric did not pass the gate."""

    exit_code = GATE


class Interrupted(PtftError):  # noqa: N818 - it is no error
    """A signal asked the run to stop; a checkpoint was written first."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
