"""All stages of a compression weighed against each other: speed, memory, size, quality; one of them is chosen."""

import copy
import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ptft.command.pipeline import Pipeline
from ptft.command.stages import PARENT, Stage
from ptft.compression.cost import count_parameters, multiply_adds, network_inputs, sparsity
from ptft.compression.latency import Arrays, Latency, busy_warning, measure_stages
from ptft.compression.memory import TIMEOUT_SECONDS, artefact_memory, peak_memory
from ptft.compression.stage_result import EAGER, Score, StageResult
from ptft.engine.evaluate import Evaluation
from ptft.engine.plan import apply_memory_format
from ptft.errors import CheckpointError

RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""What people call them."""
EAGER_NAME = "parent, eager"


def weigh(pipeline: Pipeline) -> tuple[Stage, list[StageResult]]:
    """Measure all stages together and return the one to deliver, and what was measured: the parent in PyTorch first."""
    bench, stages = pipeline.bench, pipeline.stages
    measure = bench.compression["measure"]
    bench.builder.console.say(f"measuring {len(stages)} stages in turn")
    if told := busy_warning(bench.threads):
        bench.warn(told)
    inputs = example_arrays(pipeline)
    eager = copy.deepcopy(bench.parent)
    apply_memory_format(eager, bench.held.plan.memory_format)  # as the run itself evaluates
    networks = {EAGER_NAME: eager.get_submodule("model")}
    artefacts = {stage.name: stage.artefact for stage in stages}
    sizes = list(measure["batch_sizes"])
    latencies = measure_stages(
        networks, artefacts, inputs, threads=bench.threads, batch_sizes=sizes, rounds=int(measure["rounds"])
    )
    memory = _eager_memory(pipeline, inputs) if measure["memory"] else None
    results = [_eager(pipeline, latencies[EAGER_NAME], memory)]
    for stage in stages:
        if measure["memory"]:
            memory = artefact_memory(stage.artefact, inputs, threads=bench.threads, warn=bench.warn)
        results.append(_of_stage(stage, latencies[stage.name], memory, bench.parent.headline.name))
    prefer = str(bench.compression["prefer"])
    if prefer == "last" and bench.compression["search"]:
        prefer = "smallest"  # the order of a search says nothing
    chosen = choose(stages, results, prefer, sizes[0])
    return chosen, results


def choose(stages: Sequence[Stage], results: Sequence[StageResult], prefer: str, batch: int) -> Stage:
    """Return the stage to deliver among those that pass: the last one made, the smallest or the fastest.

    The parent passes always, so that there is one.
    """
    passing = [stage for stage in stages if stage.passed is not False or stage.name == PARENT]
    measured = {result.name: result for result in results}
    if prefer == "smallest":
        return min(passing, key=lambda stage: measured[stage.name].bytes)
    if prefer == "fastest":
        return min(passing, key=lambda stage: measured[stage.name].latency[batch].p50)
    return passing[-1]


def example_arrays(pipeline: Pipeline, num_examples: int = 32) -> Arrays:
    """Return training examples as the artefacts take them."""
    bench = pipeline.bench
    batch = bench.example(num_examples)
    names = pipeline.stages[0].artefact.inputs
    return {name: value.numpy() for name, value in zip(names, network_inputs(bench.parent, batch), strict=True)}


def with_test(
    results: Sequence[StageResult], evaluations: Mapping[str, Evaluation], headline: str
) -> list[StageResult]:
    """Return the results with the headline on test for those that were looked at there."""
    return [
        dataclasses.replace(one, test=_score_of(evaluations[one.name], headline)) if one.name in evaluations else one
        for one in results
    ]


def _eager(pipeline: Pipeline, latency: Mapping[int, Latency], memory: int | None) -> StageResult:
    bench = pipeline.bench
    network = bench.parent.get_submodule("model")
    weights = bench.held.run.path / "model" / "model.safetensors"
    size = sum(tensor.nbytes for tensor in {id(t): t for t in network.state_dict().values()}.values())
    return StageResult(
        name=EAGER_NAME,
        runtime=EAGER,
        precision="fp32",
        parent=True,
        parameters=count_parameters(network),
        multiply_adds=multiply_adds(network, network_inputs(bench.parent, bench.example(1))),
        bytes=weights.stat().st_size if weights.is_file() else size,
        sparsity=sparsity(network),
        latency=latency,
        peak_memory=memory,
        validation=_score_of(bench.baseline, bench.parent.headline.name),
        agreement=1.0 if pipeline.stages[0].agreement is not None else None,
    )


def _of_stage(stage: Stage, latency: Mapping[int, Latency], memory: int | None, headline: str) -> StageResult:
    found = stage.metrics[f"val/{headline}"]
    return StageResult(
        name=stage.name,
        runtime=RUNTIMES.get(stage.artefact.runtime, stage.artefact.runtime),
        precision=stage.artefact.precision,
        parent=stage.name == PARENT,
        parameters=stage.parameters,
        multiply_adds=stage.multiply_adds,
        bytes=stage.artefact.bytes,
        sparsity=stage.sparsity,
        latency=latency,
        peak_memory=memory,
        validation=Score(found["value"], found["low"], found["high"]),
        drop=stage.drop,
        agreement=stage.agreement,
        passed=stage.passed,
    )


def _score_of(evaluation: Evaluation, headline: str) -> Score:
    low, high = evaluation.intervals.get(headline, (None, None))
    return Score(evaluation.metrics[headline], low, high)


def _eager_memory(pipeline: Pipeline, inputs: Arrays) -> int | None:
    """Return the peak memory of a fresh process that builds the run's own network and runs a batch of it."""
    bench = pipeline.bench
    with tempfile.TemporaryDirectory(prefix="ptft-memory-") as place:
        arrays = Path(place) / "arrays.npz"
        np.savez(arrays, **inputs)  # type: ignore[arg-type]
        command = [sys.executable, "-P", "-m", "ptft.command.eager_probe", str(bench.own.path.resolve())]
        command += [str(bench.held.run.path.resolve()), str(bench.builder.config["checkpoint"])]
        command += [str(arrays), str(bench.threads), *bench.builder.trusted]
        try:
            return peak_memory(command, TIMEOUT_SECONDS, bench.warn)
        except CheckpointError as error:
            bench.warn(str(error))
            return None
