"""Rows that cannot be used: the first one stops the reading, or they are left out, listed and counted."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ptft.data.text.rows import told
from ptft.errors import DataError

_SHOWN = 3
"""Rows that a message shows."""


class BadRows:
    """Collects the rows of a source that cannot be used.

    Attributes:
        rows: Those left out, as rows of bad_samples.jsonl: file, line, reason.
    """

    def __init__(self, on_bad_sample: Literal["error", "skip"] = "error", max_bad: float = 0.01) -> None:
        """Start with none.

        Args:
            on_bad_sample: error: the first one raises; skip: they are listed.
            max_bad: Largest share of all rows that may be left out.
        """
        self.rows: list[dict[str, Any]] = []
        self._skip = on_bad_sample == "skip"
        self._max_bad = max_bad

    def note(self, file: str, line: int, reason: str) -> None:
        """Leave a row out.

        Raises:
            DataError: None may be left out; names the place and the reason.
        """
        if not self._skip:
            raise DataError(
                f"{told(file, line)}: {reason}. Mend or remove it, or leave bad rows out: data.on_bad_sample=skip"
            )
        self.rows.append({"file": file, "line": line, "reason": reason})

    def check(self, good: int) -> None:
        """Compare the rows left out with the share that may be, once `good` others were read.

        Raises:
            DataError: There are more than `max_bad`.
        """
        bad, total = len(self.rows), len(self.rows) + good
        if bad > math.floor(self._max_bad * total + 1e-9):  # 29 of 100 at 0.29, whose product is a little below 29
            raise DataError(
                f"{bad:,} of {total:,} rows cannot be used, {bad / total:.1%} where data.max_bad={self._max_bad:g} "
                f"allows {self._max_bad:.1%}: {_shown(self.rows)}. Mend or remove them, or allow more with data.max_bad"
            )

    def notes(self) -> list[str]:
        """Return what to know of the rows left out; nothing where there are none."""
        if not self.rows:
            return []
        what = "row" if len(self.rows) == 1 else "rows"
        return [f"left out {len(self.rows):,} {what} that cannot be used: {_shown(self.rows)}"]


def _shown(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = [f"{told(row['file'], row['line'])}: {row['reason']}" for row in rows[:_SHOWN]]
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return "; ".join(parts) + more
