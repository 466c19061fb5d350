"""`compression.search=true`: ratios walked upwards, each going on from the one before, and every precision of each.

The walk ends where a ratio breaks the gate; the gap to the last that passed is halved once. All candidates are stages
like any others, so that a stopped search goes on.
"""

import time
from collections.abc import Sequence

from ptft.command.pipeline import Named, Pipeline
from ptft.command.stages import PARENT, Stage
from ptft.compression.step import ExportStep
from ptft.config.resolve import instantiate
from ptft.errors import ConfigError


def search(pipeline: Pipeline, steps: Sequence[Named], trusted: Sequence[str]) -> list[Stage]:
    """Make the candidates of a search, within its budget, and return all stages."""
    walked = walked_step(steps)
    precisions = [named for named in steps if isinstance(named.step, ExportStep)]
    budget, begun = pipeline.bench.compression["budget"], time.monotonic()
    source, done = pipeline.parent(), 0.0
    _forms(pipeline, precisions, source, "0")
    ratios = list(pipeline.bench.compression["ratios"])
    halved = False
    while ratios:
        if budget is not None and (time.monotonic() - begun) / 60 >= budget:
            pipeline.bench.warn(f"the budget of {budget:g} minutes is used up; not tried: {_listed(ratios)}")
            break
        ratio = ratios.pop(0)
        candidate = pipeline.make(_with_ratio(walked, ratio, done, trusted), source)
        if candidate.passed is False:
            if halved or ratio - done < 0.02:
                break
            ratios, halved = [round((done + ratio) / 2, 3)], True
            continue
        source, done = candidate, ratio
        _forms(pipeline, precisions, candidate, f"{ratio:g}")
    return pipeline.stages


def walked_step(steps: Sequence[Named]) -> Named:
    """Return the step whose ratio a search walks.

    Raises:
        ConfigError: No step of the pipeline has one.
    """
    for named in steps:
        if named.step.walks:
            return named
    raise ConfigError(
        "compression.search=true needs a step with a ratio to walk, such as prune_channels or prune_heads; "
        "choose such a pipeline: compression=prune_int8"
    )


def _forms(pipeline: Pipeline, precisions: Sequence[Named], source: Stage, ratio: str) -> None:
    """Make every precision of a network."""
    for named in precisions:
        name = named.name if source.name == PARENT else f"{named.name}-{ratio}"
        pipeline.make(Named(name, named.step, named.settings), source)


def _with_ratio(walked: Named, ratio: float, done: float, trusted: Sequence[str]) -> Named:
    """Return a step that takes away what is missing to a ratio of the parent, where `done` of it is gone already."""
    share = 1 - (1 - ratio) / (1 - done)
    settings = {**walked.settings, **dict.fromkeys(walked.step.walks, round(share, 6))}
    return Named(f"{walked.name}-{ratio:g}", instantiate(settings, trusted=trusted, group="compression"), settings)


def _listed(ratios: Sequence[float]) -> str:
    return ", ".join(f"{ratio:g}" for ratio in ratios)
