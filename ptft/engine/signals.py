"""Signals that ask a run to stop: the first is kept for the next step edge, a second SIGINT stops at once.

Before and after the training loop there is nothing to wait for, so SIGTERM ends the command at once, as SIGINT does.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from ptft.errors import INTERRUPTED, TERMINATED, Interrupted


class StopRequest:
    """Remembers the first signal that asked to stop; exit code 130 after SIGINT and 143 after SIGTERM."""

    exit_codes = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}  # noqa: RUF012

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._waiting = False

    @property
    def exit_code(self) -> int:
        """The exit code that goes with the signal."""
        return self.exit_codes[self.signal] if self.signal is not None else 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        if self._waiting:
            self.check()

    def check(self) -> None:
        """Raise what a signal that came asked for.

        Raises:
            Interrupted: One came.
        """
        if self.signal is not None:
            raise Interrupted(f"stopped by {self.signal.name}", self.exit_code)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal raise within the block, which waits for something that may never come."""
        self._waiting = True
        try:
            self.check()
            yield
        finally:
            self._waiting = False

    @contextlib.contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Catch SIGINT and SIGTERM within the block; outside the main thread signals cannot be caught."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._receive) for number in self.exit_codes}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise `Interrupted` within the block, so that the end of the run is recorded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Interrupted("stopped by SIGTERM", TERMINATED)
