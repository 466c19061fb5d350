"""Comparisons of many runs: a run that is done is not run again, and means come with intervals over seeds."""

import contextlib
import json
import math
import statistics
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from ptft.config.hydra_app import launch


def kept_run(output: Path, verb: str, name: str, *words: str) -> dict[str, Any]:
    """Run `ptft VERB WORDS` as OUTPUT/NAME, unless that is done, and return its summary; its output goes to log.txt."""
    summary = output / name / "summary.json"
    if not summary.is_file():
        output.mkdir(parents=True, exist_ok=True)
        with (output / "log.txt").open("a") as log, contextlib.redirect_stdout(log):
            common = [f"output_root={output}", f"name={name}", "overwrite=true"]
            launch(verb, [*words, *common], import_module(f"ptft.command.{verb}").run)
    result: dict[str, Any] = json.loads(summary.read_bytes())
    return result


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of values, one a seed, and half the width of its 95% t-interval."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), float(student.ppf(0.975, len(values) - 1)) * error
