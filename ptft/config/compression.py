"""What the keys of `compress` mean together, and which stopped run the same command goes on with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ptft.config.kinds import Complaint
from ptft.config.problems import shown
from ptft.runtime.find import read_record


def check_compression(config: Mapping[str, Any]) -> Iterator[Complaint]:
    """Yield what is wrong with values that have the right type."""
    compression = config.get("compression")
    if not isinstance(compression, Mapping):
        return
    steps = compression.get("steps")
    if isinstance(steps, Mapping) and not any(step is not None for step in steps.values()):
        yield (
            "compression.steps",
            "holds no step; compression=int8 chooses a pipeline (`ptft list compressions` names them), and "
            "+compression/steps@compression.steps.NAME=low_rank adds a step",
        )
    for name in steps if isinstance(steps, Mapping) else ():
        if not str(name).replace("_", "").replace("-", "").isalnum() or str(name) == "parent":
            yield f"compression.steps.{name}", "takes a plain name of letters, digits, _ and -, other than `parent`"
    ratios = compression.get("ratios")
    if compression.get("search") and isinstance(ratios, list) and (not ratios or sorted(set(ratios)) != ratios):
        yield (
            "compression.ratios",
            f"takes ratios that rise, as each goes on from the one before; found {shown(ratios)}",
        )
    if compression.get("budget") is not None and not compression.get("search"):
        yield "compression.budget", "is for a search: add compression.search=true, or leave it out"
    measure = compression.get("measure")
    if isinstance(measure, Mapping) and measure.get("batch_sizes") == []:
        yield "compression.measure.batch_sizes", "takes at least one size, found an empty list"


def is_unfinished(place: Path) -> bool:
    """Tell whether a run is one of `compress` that was stopped, killed, or failed on its way."""
    record = read_record(place)
    return record.get("command") == "compress" and record.get("status") in ("running", "interrupted", "failed")
