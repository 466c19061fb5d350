"""`compression.search=true`: ratios walked upwards, each going on from the one before, and every precision of each.

The walk ends where a ratio breaks the gate; the gap to the last that passed is halved once. All candidates are stages
like any others, so that a stopped search goes on.
"""

from collections.abc import Sequence

from ptft.command.pipeline import Named, Pipeline
from ptft.command.stages import PARENT, Stage
from ptft.compression.step import ExportStep, NetworkStep
from ptft.config.resolve import instantiate
from ptft.errors import ConfigError


def search(pipeline: Pipeline, steps: Sequence[Named], trusted: Sequence[str]) -> list[Stage]:
    """Make the candidates of a search, within its budget, and return all stages."""
    walked = walked_step(steps)
    precisions = [named for named in steps if isinstance(named.step, ExportStep)]
    budget = pipeline.bench.compression["budget"]
    source, done = pipeline.parent(), 0.0
    _forms(pipeline, precisions, source, "0")
    for named in steps[: steps.index(walked)]:
        if isinstance(named.step, NetworkStep):
            before = pipeline.make(named, source)
            source = before if before.passed is not False else source
    whole = source
    ratios = list(pipeline.bench.compression["ratios"])
    halved = False
    while ratios:
        if budget is not None and sum(stage.seconds for stage in pipeline.stages) / 60 >= budget:
            pipeline.bench.warn(f"the budget of {budget:g} minutes is used up; not tried: {_listed(ratios)}")
            break
        ratio = ratios.pop(0)
        candidate = pipeline.make(_with_ratio(walked, ratio, done, trusted), source)
        if candidate.passed is False:
            if halved or ratio - done < 0.02:
                break
            ratios, halved = [round((done + ratio) / 2, 3)], True
            continue
        source, done = candidate, _gone(walked, whole, candidate, ratio)
        _forms(pipeline, precisions, candidate, f"{ratio:g}")
    return pipeline.stages


def walked_step(steps: Sequence[Named]) -> Named:
    """Return the step whose ratio a search walks.

    Raises:
        ConfigError: No step of the pipeline has one.
    """
    for place, named in enumerate(steps):
        if named.step.walks:
            if late := [one.name for one in steps[place + 1 :] if isinstance(one.step, NetworkStep)]:
                raise ConfigError(
                    f"compression.search=true walks {named.name}, after which no step may change the network: put "
                    f"{', '.join(late)} before it or take it out (compression.steps.{late[0]}=null)"
                )
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
    share = max(1 - (1 - ratio) / (1 - done), 0.0)
    settings = {**walked.settings, **dict.fromkeys(walked.step.walks, round(share, 6))}
    return Named(f"{walked.name}-{ratio:g}", instantiate(settings, trusted=trusted, group="compression"), settings)


def _gone(walked: Named, whole: Stage, candidate: Stage, ratio: float) -> float:
    """Return which share is gone: as counted where the step counts, as channels go in bundles, else as asked for."""
    counted = {"multiply_adds": "multiply_adds", "parameters": "parameters"}.get(str(walked.settings.get("of")))
    if counted is None:
        return ratio
    return 1 - float(getattr(candidate, counted)) / float(getattr(whole, counted))


def _listed(ratios: Sequence[float]) -> str:
    return ", ".join(f"{ratio:g}" for ratio in ratios)
