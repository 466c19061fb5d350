"""The README.md of a compressed model: what it is, how to use it with and without ptft, its origin, figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptft.compression.latency import Arrays
from ptft.compression.stage_result import StageResult
from ptft.compression.table import escape_markdown, human, markdown, metric_text
from ptft.data.data_module import DataSpec
from ptft.model.artefact import Artefact
from ptft.runtime.text import one_line
from ptft.task.task import MetricSpec

_MOST_LABELS = 100
"""Labels that are written out; labels.json holds them all."""
_TOKENS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""Inputs that a tokenizer gives, and what the library `tokenizers` calls them."""
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a compressed model comes from.

    Attributes:
        name: Name of the run that was compressed.
        run_id: Its id.
        checkpoint: SHA-256 of the checkpoint that was taken.
        steps: Settings of each step by its name, in order.
    """

    name: str
    run_id: str
    checkpoint: str
    steps: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What lies in the folder that the card describes.

    Attributes:
        name: Name of the run that compressed it.
        stage: Name of the stage that it is; one of the results.
        artefact: The exported network.
        inputs: What it takes by name, as `described_inputs` tells.
        predict: The command that predicts by it, `ptft predict run=small input=...`.
        labels: Names behind the numbers that it predicts; empty: there are none.
        spec: What the data know.
    """

    name: str
    stage: str
    artefact: Artefact
    inputs: Mapping[str, str]
    predict: str
    labels: Sequence[str]
    spec: DataSpec


def described_inputs(arrays: Arrays, dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, str]:
    """Return type and shape of each input, `float32 (batch, 1, 28, 28)`.

    Args:
        arrays: An example batch.
        dynamic: For each input the names of its axes that may be of any length, as `ExportSpec` has them.
    """
    told = {}
    for name, array in arrays.items():
        axes = {0: "batch", **dynamic.get(name, {})}
        told[name] = f"{array.dtype} ({', '.join(axes.get(axis, str(size)) for axis, size in enumerate(array.shape))})"
    return told


def model_card(
    delivered: Delivered,
    lineage: Lineage,
    results: Sequence[StageResult],
    headline: MetricSpec,
    facts: Mapping[str, Any],
) -> str:
    """Return the card as Markdown.

    Args:
        delivered: What it describes.
        lineage: Where that comes from.
        results: What was measured of all stages.
        headline: The metric.
        facts: `machine_facts`.
    """
    sections = [
        f"# {escape_markdown(delivered.name)}",
        _summary(delivered, lineage, results, headline),
        "## Use",
        _use(delivered),
        "## Inputs and outputs",
        _inputs(delivered),
        "## Where it comes from",
        _lineage(lineage),
        "## Measured",
        markdown(results, headline, facts).rstrip(),
        "## Limits",
        _limits(delivered, results),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(delivered: Delivered, lineage: Lineage, results: Sequence[StageResult], headline: MetricSpec) -> str:
    artefact, spec = delivered.artefact, delivered.spec
    what = f"a model for {spec.kind}s that predicts {_target(spec)}"
    text = (
        f"A compressed form of the run {escape_markdown(lineage.name)}: {what}, as {artefact.precision} for "
        f"{escape_markdown(artefact.runtime)} (stage {escape_markdown(delivered.stage)})."
    )
    for one in results:
        if one.name == delivered.stage:
            metric = escape_markdown(headline.name)
            text += f" Its files take {human(one.bytes, 'B')}; {metric} on validation is "
            text += f"{metric_text(one.validation.value, headline)}"
            text += "." if one.test is None else f", on test {metric_text(one.test.value, headline)}."
            text += "" if not one.note else f" {escape_markdown(one.note)}"
    return text


def _target(spec: DataSpec) -> str:
    words = {
        "class": f"one of {spec.num_classes} classes",
        "labels": f"any number of {spec.num_classes} labels",
        "value": "a number",
        "tags": f"one of {spec.num_classes} tags for each token",
        "span": "where in a text an answer stands",
        "tokens": "tokens",
    }
    return words.get(spec.target, escape_markdown(spec.target))


# ---- Use -----------------------------------------------------------------------------------------------------------


def _use(delivered: Delivered) -> str:
    command = one_line(delivered.predict)
    plain = "\n".join(_snippet(delivered))
    return (
        f"With ptft, which prepares the data exactly as in training:\n\n```sh\n{command}\n```\n\n"
        f"Without it, in this folder:\n\n```python\n{plain}\n```"
    )


def _snippet(delivered: Delivered) -> list[str]:
    """Return Python that runs the artefact by its runtime alone."""
    spec, artefact = delivered.spec, delivered.artefact
    if spec.kind == "image" and spec.inputs == ("image",) and spec.shape[0] in _MODES and spec.mean:
        imports, prepare = ["from PIL import Image"], _image_lines(delivered)
    elif set(artefact.inputs) <= _TOKENS.keys() and "tokenizer.json" in spec.files:
        imports, prepare = ["from tokenizers import Tokenizer"], _text_lines(delivered)
    else:
        imports, prepare = [], _plain_lines(delivered)
    labelled = spec.target == "class" and bool(delivered.labels)
    end = ['print(json.load(open("labels.json"))[outputs[0][0].argmax()])' if labelled else "print(outputs)"]
    if artefact.runtime == "openvino":
        module, start = (
            "import openvino",
            f'session = openvino.Core().compile_model({json.dumps(artefact.file)}, "CPU")',
        )
        known = "known = {name for port in session.inputs for name in port.names}"
        run = "outputs = list(session({k: v for k, v in inputs.items() if k in known}).values())"
    else:
        module, start = "import onnxruntime", f"session = onnxruntime.InferenceSession({json.dumps(artefact.file)})"
        known = "known = {one.name for one in session.get_inputs()}"  # a graph has no inputs that it does not read
        run = "outputs = session.run(None, {k: v for k, v in inputs.items() if k in known})"
    standard = ["import json", ""] if labelled else []
    return [*standard, "import numpy as np", module, *imports, "", start, *prepare, known, run, *end]


def _image_lines(delivered: Delivered) -> list[str]:
    spec = delivered.spec
    channels, height, width = spec.shape
    kind = delivered.inputs["image"].split()[0]
    lines = [f'picture = Image.open("picture.png").convert("{_MODES[channels]}")']
    if (side := spec.preprocessing.get("resize")) is not None:
        lines += [
            f"scale = {side} / min(picture.size)  # the short side, then the centre",
            "picture = picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BILINEAR)",
            f"left, top = (picture.width - {width}) // 2, (picture.height - {height}) // 2",
            f"picture = picture.crop((left, top, left + {width}, top + {height}))",
        ]
    else:
        lines += [f"picture = picture.resize(({width}, {height}), Image.Resampling.BILINEAR)"]
    mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (spec.mean, spec.std))
    return [
        *lines,
        f"pixels = np.asarray(picture, np.float32).reshape({height}, {width}, {channels}) / 255",
        f"pixels = (pixels - [{mean}]) / [{std}]  # mean and standard deviation of each channel",
        f'inputs = {{"image": pixels.transpose(2, 0, 1)[None].astype(np.{kind})}}',
    ]


def _text_lines(delivered: Delivered) -> list[str]:
    form = str(delivered.spec.preprocessing.get("normalisation", "none"))
    given = ", ".join(f'"{name}": np.array([encoded.{_TOKENS[name]}])' for name in delivered.artefact.inputs)
    lines = ['tokenizer = Tokenizer.from_file("tokenizer.json")']
    lines += [f"tokenizer.enable_truncation({delivered.spec.shape[0]})  # tokens at most"]
    unicode = "" if form == "none" else f"  # Unicode in the form {form.upper()}"
    return [*lines, f'encoded = tokenizer.encode("A text."){unicode}', f"inputs = {{{given}}}"]


def _plain_lines(delivered: Delivered) -> list[str]:
    """Return lines that name the inputs and leave it to the reader to fill them."""
    lines = ["inputs = {  # put your own arrays here, prepared as preprocessing.json tells"]
    for name, told in delivered.inputs.items():
        kind, _, shape = told.partition(" ")
        sizes = [axis if axis.isdigit() else "1" for axis in shape.strip("()").split(", ")]
        lines.append(f"    {json.dumps(name)}: np.zeros(({', '.join(sizes)},), np.{kind}),  # {shape}")
    return [*lines, "}"]


# ---- Further sections ----------------------------------------------------------------------------------------------


def _inputs(delivered: Delivered) -> str:
    lines = [f"- takes {escape_markdown(name)}: {escape_markdown(told)}" for name, told in delivered.inputs.items()]
    lines += [f"- gives {escape_markdown(name)}" for name in delivered.artefact.outputs]
    shown = ", ".join(escape_markdown(label) for label in delivered.labels[:_MOST_LABELS])
    if more := len(delivered.labels) - _MOST_LABELS:
        shown += f" and {more:,} more (labels.json)" if more > 0 else ""
    return "\n".join(lines) + (f"\n\nLabels, in the order of their numbers: {shown}." if delivered.labels else "")


def _lineage(lineage: Lineage) -> str:
    lines = [
        f"- parent: run {escape_markdown(lineage.name)}, id {escape_markdown(lineage.run_id)}",
        f"- its checkpoint: SHA-256 {escape_markdown(lineage.checkpoint)}",
    ]
    for name, settings in lineage.steps.items():
        told = ", ".join(
            f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in settings.items()
        )
        lines.append(f"- step {escape_markdown(name)}{': ' * bool(told)}{escape_markdown(told)}")
    return "\n".join(lines)


def _limits(delivered: Delivered, results: Sequence[StageResult]) -> str:
    tested = any(one.test is not None for one in results)
    lines = [
        "- Choices and the gate looked at validation alone, which flatters what was chosen a little; "
        + ("the test split was read once, at the end." if tested else "the test split was not read."),
        "- It is for data like those it was trained on, prepared in the same way (preprocessing.json"
        + (
            f", fingerprint {escape_markdown(delivered.spec.fingerprint[:16])})."
            if delivered.spec.fingerprint
            else ")."
        ),
        "- Compression can cost some classes more than others; `ptft evaluate` shows each of them.",
        "- Latencies hold for the machine named above; int8 and bf16 are only fast where the CPU has instructions for "
        "them.",
    ]
    for one in results:
        if one.name == delivered.stage and one.agreement is not None:
            lines.append(f"- It predicts what its parent predicts on {one.agreement:.1%} of the validation examples.")
    return "\n".join(lines)
