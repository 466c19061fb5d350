"""What is said and done when gradients were not finite."""

from collections.abc import Callable, Iterable
from typing import Literal

from ptft.engine.optimize import PhaseOptimizer
from ptft.errors import DivergedError


def check_finite(
    optimizers: Iterable[PhaseOptimizer], step: int, on_nonfinite: Literal["stop", "skip"], warn: Callable[[str], None]
) -> None:
    """Read the flags of the steps since the last look; `step` is the number of steps done.

    Raises:
        DivergedError: A gradient was not finite, and `on_nonfinite` is stop.
    """
    bad: list[int] = []
    for optimizer in optimizers:
        flags = optimizer.take_nonfinite()
        bad += [step - len(flags) + 1 + number for number, flag in enumerate(flags) if flag]
    if not bad:
        return
    where = f"step {min(bad)}" + (f" (and {len(set(bad)) - 1} later ones)" if len(set(bad)) > 1 else "")
    if on_nonfinite == "stop":
        raise DivergedError(
            f"the gradient is not finite at {where}; the update was left out and the run stopped. "
            "Try a smaller optimizer.lr, engine.clip_norm=1, engine.precision=fp32, or engine.on_nonfinite=skip"
        )
    warn(f"the gradient is not finite at {where}; the update was left out")
