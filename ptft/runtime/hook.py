"""What happens at certain steps of a training: a contract between floors that do not know each other.

What a hook does must be a pure function of the number of steps done, so that a resumed training needs no state of it.
"""

from typing import Protocol


class Hook(Protocol):
    """Something that is due at certain steps."""

    def next_due(self, step: int) -> float:
        """Return the first number of steps done after `step` at which something is due; infinity: never again."""
        ...

    def apply(self, step: int) -> None:
        """Bring about what holds once `step` steps are done; at the start too, and at steps where nothing is due."""
        ...

    def describe(self) -> str:
        """Return in one line what will happen when."""
        ...
