"""Quantization-aware training of a copy of a task, from ranges to the int8 file.

Jacob and others (arXiv 1712.05877), Krishnamoorthi (arXiv 1806.08342): batch norm is folded, ranges are found on
training examples and frozen, and the network is trained on, through the same loop as ever. Left out: learned ranges.
"""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ptft.compression import onnx_file
from ptft.compression.behind import with_network
from ptft.compression.export import export_onnx
from ptft.compression.fake_quantise import fix_integers
from ptft.compression.integer_range import needs_reduced_range
from ptft.compression.integers import quantise_tables, reorder, write_integers
from ptft.compression.ranges import fake_quantise, matching, quantisable
from ptft.compression.step import Workshop
from ptft.model.artefact import Artefact, ArtefactNetwork, read_artefact
from ptft.runtime import files
from ptft.task.task import Task

ROUNDING = 0.1
"""By how much integers may differ from rounded floats, as a share of the largest output: a value close to the middle
of two bytes falls either way, and what follows with it."""


def train_quantised(
    task: Task,
    workshop: Workshop,
    folder: Path,
    *,
    duration: str,
    samples: int = 512,
    reduce_range: bool | Literal["auto"] = "auto",
    exclude: Sequence[str] = (),
) -> Artefact:
    """Train a copy of a task with rounded weights and activations, and write it as int8 ONNX.

    Args:
        task: In evaluation mode, on the CPU; left as it is.
        workshop: Training examples, and the engine.
        folder: An empty one.
        duration: How long to train.
        samples: Training examples that ranges are found on.
        reduce_range: As `Qat` has it.
        exclude: As `Qat` has it.

    Raises:
        PtftError: The network cannot be exported.
    """
    twin = copy.deepcopy(task).eval()
    reduced = needs_reduced_range() if reduce_range == "auto" else reduce_range
    names = fake_quantise(twin, lambda: workshop.batches(samples), levels=63 if reduced else 127, exclude=exclude)
    bits = 7 if reduced else 8
    workshop.say(f"quantization-aware training for {duration}: {len(names)} layers, weights of {bits} bits")
    workshop.recover(twin, duration, part="qat")
    twin.eval()
    fix_integers(twin)
    batch = next(workshop.batches(samples))
    exported = export_onnx(twin, batch, folder, precision="int8", tolerance=ROUNDING)
    return _finished(exported, bits)


def better_by_training(
    task: Task,
    quantised: Artefact,
    workshop: Workshop,
    *,
    duration: str,
    samples: int = 512,
    reduce_range: bool | Literal["auto"] = "auto",
    exclude: Sequence[str] = (),
) -> Artefact:
    """Return the better of an int8 artefact and one that was trained so, if the first loses more than the gate allows.

    Both are judged by validation.

    Args:
        task: As for `train_quantised`.
        quantised: The artefact of post-training quantization; its folder holds the answer in either case.
        workshop: Evaluates, and tells the gate.
        duration: How long to train.
        samples: Training examples that ranges are found on.
        reduce_range: As `Qat` has it.
        exclude: As `Qat` has it; expressions found in no layer are passed over.

    Raises:
        PtftError: The network cannot be exported.
    """
    allowed = workshop.allowed_drop()
    if allowed is None:
        return quantised

    def evaluate(artefact: Artefact) -> float:
        return workshop.evaluate(with_network(task, ArtefactNetwork(artefact, threads=workshop.threads)))

    before = evaluate(quantised)
    if workshop.drop(before) <= allowed:
        return quantised
    workshop.say(f"int8 loses {workshop.drop(before):.4g}, more than the {allowed:.4g} that the gate allows; training")
    layers = quantisable(task.get_submodule("model"))
    folder = workshop.folder / "trained"  # beside the training's own folder; what a stopped one left there goes
    files.remove(folder)
    files.make_directory(folder)
    trained = train_quantised(
        task, workshop, folder, duration=duration, samples=samples, reduce_range=reduce_range,
        exclude=[pattern for pattern in exclude if matching(layers, pattern)],
    )  # fmt: skip
    after = evaluate(trained)
    better = math.isnan(before) or task.headline.better(after, before)
    workshop.say(f"trained it loses {workshop.drop(after):.4g}: {'that one' if better else 'the first'} is kept")
    return _moved(trained, quantised.folder) if better else quantised


def _moved(artefact: Artefact, folder: Path) -> Artefact:
    """Return an artefact moved into a folder, in the place of what lay there."""
    for path in folder.iterdir():
        path.unlink()
    for path in list(artefact.folder.iterdir()):
        path.replace(folder / path.name)
    return read_artefact(folder)


def _finished(exported: Artefact, bits: int) -> Artefact:
    """Return the artefact with what stayed float in its quickest order, tables in int8, and as small as it gets."""
    model = onnx_file.load(exported.path)
    reorder(model, [])
    quantise_tables(model)
    return write_integers(model, exported.folder, exported, bits)
