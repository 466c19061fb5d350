"""The hooks of a training as one: called at its start, wherever that is, and after each step at which one is due."""

import math
from collections.abc import Sequence

from ptft.runtime.hook import Hook


class Hooks:
    """Any number of hooks, in order; of none, nothing is ever due."""

    def __init__(self, hooks: Sequence[Hook] = ()) -> None:
        self.hooks = tuple(hooks)

    def next_due(self, step: int) -> float:
        """Return the first number of steps done after `step` at which any of them is due."""
        return min((hook.next_due(step) for hook in self.hooks), default=math.inf)

    def apply(self, step: int) -> None:
        """Let each bring about what holds once `step` steps are done."""
        for hook in self.hooks:
            hook.apply(step)
