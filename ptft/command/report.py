"""What a run leaves for people and for later commands: summary.json, predictions.csv, model/, tables on the console."""

import csv
import io
import json
import math
import re
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from ptft.config.arguments import quoted
from ptft.config.invocation import Invocation
from ptft.data.data_module import DataSpec
from ptft.engine.console import Console
from ptft.engine.evaluate import Evaluation
from ptft.engine.optimize import PhaseOptimizer
from ptft.engine.run_dir import RunDirectory
from ptft.engine.state import alias_tied
from ptft.engine.weights import own_tensors
from ptft.errors import ConfigError, GateError
from ptft.model.exchange import Exchanges
from ptft.runtime import files
from ptft.task.exhibit import Matrix
from ptft.task.task import Task


def summarise(evaluation: Evaluation, split: str) -> dict[str, dict[str, Any]]:
    """Return the metrics of an evaluation as summary.json holds them: value, low, high and n by `split/metric`."""
    summary = {}
    for name, value in evaluation.metrics.items():
        low, high = evaluation.intervals.get(name, (None, None))
        summary[f"{split}/{name}"] = {"value": value, "low": low, "high": high, "n": evaluation.num_examples}
    return summary


def show_metrics(console: Console, title: str, summary: Mapping[str, Mapping[str, Any]]) -> None:
    """Print metrics with their intervals."""
    rows = []
    for name, entry in summary.items():
        interval = f"{entry['low']:.4f} to {entry['high']:.4f}" if entry.get("low") is not None else ""
        rows.append({"metric": name, "value": f"{entry['value']:.4f}", "95% interval": interval})
    console.table(title, rows)


def write_predictions(
    run: RunDirectory, records: Mapping[str, Tensor], labels: tuple[str, ...], paths: Sequence[str] = ()
) -> None:
    """Write predictions.csv: one row an example, by number; label numbers as names, its file at the end if it has one.

    Args:
        run: The run.
        records: Columns, (N,) each, `index` among them.
        labels: Names behind the label numbers.
        paths: The file of each example of the data, by its number; empty: examples are no files.
    """
    if not set(records) - {"index"}:
        return  # a task that predicts nothing of single examples
    order = records["index"].argsort(stable=True)
    records = {name: values[order] for name, values in records.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*records, *(["path"] if paths else [])])
    columns = []
    for name, values in records.items():
        named = labels and name.partition(".")[0] in ("label", "prediction")  # prediction.a in a comparison
        columns.append([cell(labels[value]) for value in values.tolist()] if named else values.tolist())
    if paths:
        columns.append([cell(paths[number]) for number in records["index"].tolist()])
    writer.writerows(zip(*columns, strict=True))
    run.write_text("predictions.csv", text.getvalue())


def write_matrix(run: RunDirectory, matrix: Matrix) -> str:
    """Write the cells of a matrix that are not empty as csv into report/, and return the name of the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([matrix.rows, matrix.columns, "count"])
    for row, column in matrix.counts.nonzero().tolist():
        writer.writerow([cell(matrix.names[row]), cell(matrix.names[column]), int(matrix.counts[row, column])])
    run.write_text(f"report/{matrix.name}.csv", text.getvalue())
    return f"{matrix.name}.csv"


def write_model(run: RunDirectory, task: Task, config: Mapping[str, Any]) -> None:
    """Write model/: the weights under the network's own names, its config and the labels.

    What a task keeps beside its network (a decoder) is of no use without it and is left out. A network of another
    library is written in that library's form, with ptft's settings added to its config.
    model/preprocessing.json is there since the start of the run: a resumed run needs it too.
    """
    prefix = f"{task.phases[0]}." if len(task.phases) == 1 else ""
    folder = run.path / "model"
    folder.mkdir(exist_ok=True)
    network = task.get_submodule(task.phases[0]) if prefix else task
    facts: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    if isinstance(network, Exchanges):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as place:
            network.write_pretrained(Path(place), task.label_names())
            data = (Path(place) / "model.safetensors").read_bytes()
            facts = json.loads((Path(place) / "config.json").read_bytes())
    else:
        own = own_tensors(task)
        named = {name.removeprefix(prefix): tensor for name, tensor in own.items() if name.startswith(prefix)}
        tensors, aliases = alias_tied(named)
        data = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    files.replace_with(folder / "model.safetensors", data)
    run.write_json("model/config.json", {**facts, "model": config["model"], "task": config["task"], "aliases": aliases})
    run.write_json("model/labels.json", list(task.label_names()))


def count_parameters(task: Task, optimizers: Iterable[PhaseOptimizer]) -> dict[str, int]:
    """Return how many parameters a task has, without external networks, and how many of them its optimizers train."""
    trained = sum(parameter.numel() for optimizer in optimizers for parameter in optimizer.parameters)
    own = (value for name, value in task.named_parameters() if name.partition(".")[0] not in task.external)
    return {"trainable": trained, "total": sum(parameter.numel() for parameter in own)}


def write_preprocessing(run: RunDirectory, spec: DataSpec) -> None:
    """Write model/preprocessing.json, what later commands must know of the data, and the files that belong to it."""
    for name, text in spec.files.items():
        run.write_text(f"model/{name}", text)
    run.write_json("model/preprocessing.json", spec.to_json())


def check_gate(gate: Mapping[str, Any] | None, summary: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare a metric with the bounds of the gate.

    Raises:
        GateError: It is out of bounds, or not a number.
        ConfigError: There is no such metric.
    """
    if not gate:
        return
    name = gate["metric"]
    if name not in summary:
        raise ConfigError(f"gate.metric={name}: no such metric; this run gives {', '.join(summary)}")
    value, least, most = summary[name]["value"], gate.get("min"), gate.get("max")
    value = math.nan if value is None else value  # JSON knows no NaN
    passed = (least is None or value >= least) and (most is None or value <= most) and value == value
    if not passed:
        bounds = " and ".join([f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None))
        raise GateError(f"the gate was not met: {name} is {value:.4f}, expected {bounds}")


def naming(key: str, run: RunDirectory) -> str:
    """Return how another command names this run, `key=...`: by its name where runs are looked for, else by its path."""
    reference = str(run.record["name"])
    if run.path != Path("outputs") / reference:
        reference = str(run.path) if run.path.is_absolute() else f"./{run.path}"
    if re.fullmatch(r"[A-Za-z0-9_./@-]+", reference):
        return f"{key}={reference}"
    text = f"{key}={quoted(reference)}"
    return shlex.quote(text) if re.search(r'[$`"\\!]', text) else f'"{text}"'  # easier on the eye than '"'"'


def of_a_sweep(invocation: Invocation) -> str:
    """Return what tells this job of a sweep from its siblings, `: adapt=lora`; nothing where there are none."""
    own = [text for text in invocation.overrides if text not in invocation.argv]
    return f": {', '.join(own)}" if invocation.job is not None and own else ""


def kept(invocation: Invocation, labelled: bool) -> list[str]:
    """Return what was typed of the data and the model, for a command that goes on with both, quoted for a shell.

    Args:
        invocation: The command that was typed.
        labelled: Whether its data have labels; without, a place is left for the folder of others.
    """
    typed = [text for text in invocation.overrides if re.match(r"(data|model)[.=]", text)]
    if not labelled and invocation.choices.get("data", "").startswith("text/"):
        # Raw text has no place for labels, a table has; and the verbs differ in the model they give to text.
        typed = [text for text in typed if text.startswith("model.")]
        typed = [f"model={invocation.choices['model']}", *typed, "data=text/table", "data.path=LABELLED"]
    elif not labelled:
        typed = [text for text in typed if not re.match(r"data\.(path|csv|columns|labels|split)[.=]", text)]
        typed += ["data.path=LABELLED"] if any(text.startswith("data=") for text in typed) else []
    typed += [f"--config-dir={invocation.config_dir}"] if typed and invocation.config_dir is not None else []
    return [text if re.fullmatch(r"[\w./=@:,+-]+", text) else shlex.quote(text) for text in typed]


def command_line(invocation: Invocation, words: str) -> str:
    """Return a command to type next, with the packages that this one trusted."""
    return " ".join(["ptft", words, *(f"--plugin {name}" for name in invocation.trusted)])


def resuming(run: RunDirectory, invocation: Invocation) -> str:
    """Return the command that goes on with a run."""
    return command_line(invocation, f"{invocation.verb} {naming('resume', run)}")


def cell(text: str) -> str:
    """Keep a spreadsheet from taking a label for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
