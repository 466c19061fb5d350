"""`ptft evaluate run=a,b`: two or more runs on the same examples, differences paired by example, the first as baseline.

What one training run is worth against another is not told by two intervals side by side: both judge the same examples,
and what is hard for one is mostly hard for the other. So the differences are taken example by example. They tell the
chance in the choice of examples, not that of training again with another seed.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptft.command import report
from ptft.command.build import Builder
from ptft.command.held import open_held
from ptft.command.measure import Bench, prepare
from ptft.command.running import open_run, recorded, withdrawn_if_refused
from ptft.command.same_examples import check_examples, check_tasks
from ptft.command.training import objective_of
from ptft.config.invocation import Invocation
from ptft.engine.console import Console
from ptft.engine.evaluate import Evaluation, in_order
from ptft.engine.recorder import Recorder
from ptft.engine.run_dir import RunDirectory
from ptft.errors import ConfigError
from ptft.metric.bootstrap import Interval
from ptft.metric.mcnemar import PairedCounts
from ptft.sweep.trial import Measured
from ptft.task.task import ExampleMetrics, MetricSpec

LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class Difference:
    """How a run differs from the baseline.

    Attributes:
        values: Its metric, the baseline's and the difference, by name.
        intervals: 95% intervals of the differences that have one.
        counts: Which examples were right; None where a prediction is not of one example.
    """

    values: dict[str, tuple[float, float, float]]
    intervals: dict[str, Interval]
    counts: PairedCounts | None


def run(config: dict[str, Any], invocation: Invocation) -> list[Measured]:
    """Compare the runs that `run=a,b` names; return the objective: the difference of the headline metric.

    Raises:
        ConfigError: They do not judge the same examples, or an option is of one run alone.
        CheckpointError: A run has no such checkpoint.
    """
    console = Console()
    assert invocation.run is not None, "the config is checked: run= names runs"
    subjects = [(config, invocation.run), *((subject.config, subject.run) for subject in invocation.compared)]
    with open_run(config, invocation) as own, recorded(own, console):
        with withdrawn_if_refused(own):
            _refuse_options(config, len(subjects))
            console.say(f"run {own.path}")
            benches = []
            for letter, (settings, path) in zip(LETTERS, subjects, strict=False):
                parent = RunDirectory.reopen(path)
                held = open_held(parent, str(config["checkpoint"]))
                console.say(f"{letter}: {path}, {held.title}")
                benches.append(prepare(Builder(settings, invocation.trusted, console), parent, held))
            own.save(parents=[_parent(bench) for bench in benches])
            for letter, bench in zip(LETTERS[1:], benches[1:], strict=False):
                check_tasks(benches[0], bench, letter)
            results = [in_order(bench.evaluate()) for bench in benches]
            allowed = bool(config["data"].get("allow_changed"))
            for letter, bench, result in zip(LETTERS[1:], benches[1:], results[1:], strict=False):
                check_examples(benches[0], results[0], bench, result, letter, allowed=allowed)
        differences = [difference(results[0], result) for result in results[1:]]
        split, headline = benches[0].split, benches[0].task.headline
        summary = _summarise(split, results, differences)
        recorder = Recorder(own, Builder(config, invocation.trusted, console).make_all("logger", own.path, 0))
        recorder.row({"step": benches[0].held.step}, {name: entry["value"] for name, entry in summary.items()})
        recorder.close()
        names, paths = benches[0].task.label_names(), benches[0].data.paths()
        report.write_predictions(own, _side_by_side(results), names, paths)
        own.write_json("comparison.json", _as_json(benches, differences, results[0].num_examples))
        own.write_json("summary.json", {"metrics": summary, "checkpoint": benches[0].held.digest})
        baseline, *others = (str(bench.run.record["name"]) for bench in benches)
        for letter, name, found in zip(LETTERS[1:], others, differences, strict=False):
            pair = f"{letter} ({name}) against A ({baseline})"
            _show(console, f"{pair} on {split}, {results[0].num_examples:,} examples", letter, found, headline)
        console.say(f"see   {own.path / 'comparison.json'}")
        console.say(f"run   {own.path}")
        report.check_gate(config.get("gate"), summary)
        return objective_of(config.get("objective"), summary, f"{split}/{headline.name}.b-a", headline.mode)


def difference(baseline: Evaluation, other: Evaluation) -> Difference:
    """Return how an evaluation differs from a baseline of the same examples in the same order.

    Raises:
        ConfigError: The metrics of this task do not know single examples.
    """
    first, second = baseline.source, other.source
    if not isinstance(first, ExampleMetrics) or not isinstance(second, ExampleMetrics):
        raise ConfigError("run=a,b: this task judges all examples together, so that they cannot be paired")
    values = {
        name: (value, other.metrics[name], other.metrics[name] - value)
        for name, value in baseline.metrics.items()
        if name in other.metrics
    }
    counts = None
    single = baseline.num_examples == len(baseline.records["index"])  # several rows of one example are no toss each
    if single and {"label", "prediction"} <= set(baseline.records):
        label = baseline.records["label"]
        counts = PairedCounts.of(*(side.records["prediction"] == label for side in (baseline, other)))
    return Difference(values, first.differences(second), counts)


def _refuse_options(config: Mapping[str, Any], number: int) -> None:
    """Refuse what is told of one run alone."""
    for key in ("by", "explain"):
        if config["evaluate"][key] is not None:
            raise ConfigError(f"evaluate.{key} is told of one run; leave it out, or evaluate each run by itself")
    if number > len(LETTERS):
        raise ConfigError(f"run= names {number} runs; at most {len(LETTERS)} are compared at a time")


def _show(console: Console, title: str, letter: str, found: Difference, headline: MetricSpec) -> None:
    """Print both sides, the difference with its interval, and what McNemar's test says."""
    rows = []
    for name, (first, second, change) in found.values.items():
        low, high = found.intervals.get(name, (None, None))
        interval = f"{low:+.4f} to {high:+.4f}" if low is not None else ""
        cells = {"A": f"{first:.4f}", letter: f"{second:.4f}", f"{letter} - A": f"{change:+.4f}"}
        rows.append({"metric": name, **cells, "95% interval": interval})
    console.table(title, rows)
    if found.counts is not None:
        counts = found.counts
        console.say(
            f"right: both {counts.both}, only A {counts.only_first}, only {letter} {counts.only_second}, "
            f"neither {counts.neither}; McNemar's exact test: {_p(counts.p_value)}"
        )
    if headline.name in found.intervals:
        console.say(_verdict(letter, found.intervals[headline.name], headline))


def _verdict(letter: str, interval: Interval, headline: MetricSpec) -> str:
    low, high = interval
    if low <= 0 <= high:
        return f"No clear difference in {headline.name}: the interval holds zero."
    side = "above" if low > 0 else "below"
    better = (low > 0) == (headline.mode == "max")
    return f"{letter} is {'better' if better else 'worse'} in {headline.name}: the interval lies {side} zero."


def _p(value: float) -> str:
    return f"p = {value:.4f}" if value >= 0.0001 else "p < 0.0001"


def _summarise(split: str, results: Sequence[Evaluation], differences: Sequence[Difference]) -> dict[str, Any]:
    """Return the metrics as summary.json holds them: `test/accuracy.a`, `.b` and the difference `.b-a`."""
    summary: dict[str, Any] = {}
    for letter, result in zip(LETTERS.lower(), results, strict=False):
        summary |= {f"{name}.{letter}": entry for name, entry in report.summarise(result, split).items()}
    for letter, found in zip(LETTERS.lower()[1:], differences, strict=False):
        for name, (_, _, change) in found.values.items():
            low, high = found.intervals.get(name, (None, None))
            entry = {"value": change, "low": low, "high": high, "n": results[0].num_examples}
            summary[f"{split}/{name}.{letter}-a"] = entry
    return summary


def _side_by_side(results: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the records of all runs as one table: index and label once, then prediction.a, score.a and so on."""
    shared = {name: values for name, values in results[0].records.items() if name in ("index", "label")}
    for letter, result in zip(LETTERS.lower(), results, strict=False):
        shared |= {f"{name}.{letter}": values for name, values in result.records.items() if name not in shared}
    return shared


def _parent(bench: Bench) -> dict[str, Any]:
    return {"id": bench.run.id, "name": bench.run.record["name"], "checkpoint": bench.held.digest}


def _as_json(benches: Sequence[Bench], differences: Sequence[Difference], num_examples: int) -> dict[str, Any]:
    """Return what comparison.json holds."""
    runs = [{"run": str(bench.run.path), "step": bench.held.step, **_parent(bench)} for bench in benches]
    others = []
    for letter, about, found in zip(LETTERS.lower()[1:], runs[1:], differences, strict=False):
        metrics = {}
        for name, (first, second, change) in found.values.items():
            low, high = found.intervals.get(name, (None, None))
            metrics[name] = {"baseline": first, "value": second, "difference": change, "low": low, "high": high}
        entry: dict[str, Any] = {"letter": letter, **about, "metrics": metrics}
        if (counts := found.counts) is not None:
            entry["right"] = {
                "both": counts.both,
                "only_baseline": counts.only_first,
                "only_this": counts.only_second,
                "neither": counts.neither,
            }
            entry["mcnemar_p_value"] = counts.p_value
        others.append(entry)
    return {
        "split": benches[0].split,
        "num_examples": num_examples,
        "baseline": {"letter": "a", **runs[0]},
        "others": others,
    }
