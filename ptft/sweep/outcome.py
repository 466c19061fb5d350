"""How a trial ended: `trial.json` in its folder, written by the process that ran it, read by the sweep.

A trial whose process was killed leaves none; one that ended while nobody listened is found again by it.
"""

import contextlib
import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ptft.errors import DivergedError, GateError, PtftError
from ptft.runtime import files
from ptft.sweep.trial import Measured

FILE = "trial.json"
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: Whether it came to its end.
        measured: What it is compared by.
        reason: Why it failed, in a few words.
        error: What it said: a message, or a traceback where the fault is ours.
    """

    state: Literal["done", "failed"]
    measured: tuple[Measured, ...] = ()
    reason: str | None = None
    error: str | None = None

    def write(self, folder: Path) -> None:
        """Write it into the folder of its trial."""
        with contextlib.suppress(OSError):  # of a full disk the exit code still tells
            files.ensure_directory(folder)
            measured = [[one.name, one.mode, one.value] for one in self.measured]
            plain = {**vars(self), "measured": measured}
            files.replace_with(folder / FILE, (json.dumps(plain, indent=2, ensure_ascii=True) + "\n").encode())


def read_outcome(folder: Path) -> Outcome | None:
    """Return how the trial of a folder ended; None where nothing tells."""
    try:
        plain: dict[str, Any] = json.loads((folder / FILE).read_bytes())
        measured = tuple(Measured(str(name), str(mode), float(value)) for name, mode, value in plain.pop("measured"))
        return Outcome(**plain, measured=measured)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def forget_outcome(folder: Path) -> None:
    """Remove what tells how the trial of a folder ended: it is about to run again."""
    (folder / FILE).unlink(missing_ok=True)


def done(measured: Sequence[Measured]) -> Outcome:
    """Return the outcome of a trial that came to its end."""
    return Outcome(state="done", measured=tuple(measured))


def failed(error: BaseException) -> Outcome:
    """Return the outcome of a trial that raised."""
    text = str(error) if isinstance(error, PtftError) else "".join(traceback.format_exception(error))
    return Outcome(state="failed", reason=reason_of(error), error=text)


def reason_of(error: BaseException) -> str:
    """Return in a few words why an exception ends a trial."""
    if isinstance(error, DivergedError):
        return "non-finite loss"
    if isinstance(error, GateError):
        return "gate not met"
    # By its name, as torch's class may be asked for only where torch is imported.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _tells_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, PtftError):
        return "refused" if error.exit_code == 2 else str(error).splitlines()[0][:80]
    return f"{type(error).__name__}: {str(error).splitlines()[0][:80]}" if str(error) else type(error).__name__


def _tells_of_memory(error: BaseException) -> bool:
    """Tell whether torch's allocator on a CPU, which raises a plain RuntimeError, got no memory."""
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
