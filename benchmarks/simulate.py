"""A sweep in simulated time: no process, no file; what a point reaches is looked up.

The loop is that of `ptft/sweep/conductor.py` with one seed a point: trials that wait start first, then the method is
asked, and workers end in the order of their times.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ptft.sweep.methods.method import Method
from ptft.sweep.space import Params
from ptft.sweep.trial import Trial, history_of

Objective = Callable[[Params, int], tuple[float, ...] | None]
"""What a point reaches at a rung, a value an objective; None: it fails."""


@dataclass(frozen=True)
class Landed:
    """A trial that has ended.

    Attributes:
        trial: It.
        time: When, in whole trainings by one worker.
        trained: What all workers have trained until then, in whole trainings; parts of what still runs count.
    """

    trial: Trial
    time: float
    trained: float


def simulate(
    method: Method, objective: Objective, *, modes: Sequence[str] = ("min",), workers: int = 1,
    pace: Callable[[Trial], float] = lambda _: 1.0, trials: list[Trial] | None = None,
) -> Iterator[Landed]:  # fmt: skip
    """Run a sweep and yield each trial as it ends; who stops listening has killed it.

    Args:
        method: Chooses points.
        objective: What they reach.
        modes: `max` or `min` for each objective.
        workers: How many trials run at once.
        pace: How long a whole training takes, for a trial that is about to start.
        trials: Where the sweep stands, and what is changed; those that ran when it was killed run again.
    """
    trials = [] if trials is None else trials
    for trial in trials:
        trial.state = "waiting" if trial.state == "running" else trial.state
    running: list[tuple[float, int, float, float]] = []  # end, number, begin, share of a whole training
    now = ended = 0.0
    known = any(trial.values for trial in trials)
    while True:
        while len(running) < workers and (started := _next(method, trials, modes if known else ())) is not None:
            share = method.shares[started.rung] - (method.shares[started.rung - 1] if started.rung else 0.0)
            heapq.heappush(running, (now + share * pace(started), started.number, now, share))
        if not running:
            return
        now, number, _, share = heapq.heappop(running)
        trial = trials[number]
        values = objective(trial.params, trial.rung)
        if values is None:
            trial.state = "failed"
        else:
            trial.state, trial.values[trial.rung], known = "done", values, True
        ended += share
        yield Landed(trial, now, ended + sum(part * (now - since) / (end - since) for end, _, since, part in running))


def _next(method: Method, trials: list[Trial], modes: Sequence[str]) -> Trial | None:
    """Return what starts now, and note that it runs."""
    found = next((trial for trial in trials if trial.state == "waiting"), None)
    if found is None:
        step = method.next(history_of(trials, modes))
        if step is None:
            return None
        if step.point < len(trials):
            found = trials[step.point]
            found.rung = step.rung
        else:
            found = Trial(number=step.point, point=step.point, seed=0, params=dict(step.params), rung=step.rung)
            trials.append(found)
    found.state, found.attempts = "running", found.attempts + 1
    return found
