"""What becomes of examples that break while training: the run stops, or goes on without them and tells."""

import threading

from ptft.errors import DataError


class BadSamples:
    """Counts the examples that could not be read; safe to use in several threads."""

    def __init__(self, *, most: int | None = None) -> None:
        """Start with none.

        Args:
            most: How many different examples may be left out; None: the first one is an error.
        """
        self._most = most
        self._lock = threading.Lock()
        self._found: dict[int, str] = {}

    def note(self, number: int, error: DataError) -> None:
        """Count example `number`, which could not be read.

        Raises:
            DataError: No example may be left out, or this is one more than may be.
        """
        if self._most is None:
            raise DataError(
                f"{error}. Mend or remove it, or leave bad pictures out: data.on_bad_sample=skip"
            ) from error
        with self._lock:
            self._found[number] = str(error)
            count = len(self._found)
        if count > self._most:
            raise DataError(
                f"{error}. {count:,} pictures broke after the run began, and data.max_bad leaves room for "
                f"{self._most:,}; mend them, or allow more with data.max_bad"
            ) from error

    def found(self) -> dict[int, str]:
        """Return why each example left out so far could not be read, by its number, in rising order."""
        with self._lock:
            return dict(sorted(self._found.items()))
