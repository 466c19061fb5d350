"""Whether a teacher fits a student: the same kind of task, the same classes, and batches that mean the same to both."""

import hashlib
from collections.abc import Mapping, Sequence

from ptft.data.data_module import DataSpec
from ptft.data.image_arrays import class_difference
from ptft.errors import ConfigError, DataError
from ptft.task.task import Task

CLOSE = 0.02
"""Means and standard deviations in [0, 1] that differ by no more are taken for the same; splits differ by less."""
OF_THE_TASK = ("layout", "unanswerable")
"""What `DataSpec.preprocessing` tells that changes no example's reading."""


def check_teacher(task: Task, teacher: Task) -> None:
    """See that a teacher can teach a student.

    Raises:
        ConfigError: The task cannot be distilled, or the teacher is a task of another kind.
        DataError: They know other classes, or read examples in other ways.
    """
    if not task.distils:
        raise ConfigError(
            f"task {type(task).__name__} cannot be distilled: it gives nothing that can be compared with a teacher's; "
            "distil a task with logits, such as classification, or text/masked"
        )
    if not isinstance(teacher, type(task)):
        raise ConfigError(
            f"the teacher's task is {type(teacher).__name__} and the student's {type(task).__name__}; a teacher gives "
            "what its student is to give, so both must be of one kind"
        )
    if wrong := class_difference(teacher.label_names(), task.label_names(), "the teacher", "the student"):
        raise DataError(f"teacher and student tell other classes apart: {wrong}; they must be the same, in one order")
    own, theirs = getattr(task, "spec", None), getattr(teacher, "spec", None)
    if isinstance(own, DataSpec) and isinstance(theirs, DataSpec) and (wrong := difference(theirs, own)):
        raise DataError(f"teacher and student read examples in other ways: {wrong}")


def difference(theirs: DataSpec, own: DataSpec) -> str:
    """Return how a teacher's data differ from a student's in what a batch means, and what to do; or nothing."""
    for what, first, second in (
        ("kind of data", theirs.kind, own.kind),
        ("labels (data.target)", theirs.target, own.target),
        ("inputs", theirs.inputs, own.inputs),
    ):
        if first != second:
            return f"the teacher's {what}: {_told(first)}, the student's: {_told(second)}"
    wrong = _other_texts(theirs, own) if own.kind == "text" else _other_images(theirs, own)
    if wrong:
        return wrong
    known, here = (
        {name: value for name, value in spec.preprocessing.items() if name not in OF_THE_TASK} for spec in (theirs, own)
    )
    for name in sorted({*known, *here}):
        if known.get(name) != here.get(name):
            return f"data.{name} is {_told(known.get(name))} of the teacher, {_told(here.get(name))} of the student"
    return ""


def _other_texts(theirs: DataSpec, own: DataSpec) -> str:
    digests = [_digest(spec.files) for spec in (theirs, own)]
    sizes = (theirs.vocab_size, own.vocab_size)
    if sizes[0] != sizes[1] or theirs.special_tokens != own.special_tokens or digests[0] != digests[1]:
        return (
            f"the teacher's tokenizer has {sizes[0]:,} tokens (SHA-256 {digests[0][:12]}), the student's {sizes[1]:,} "
            f"({digests[1][:12]}). Let the student start from a model with the teacher's tokenizer, or from none, and "
            "leave data.tokenizer.path out: then the teacher's is used"
        )
    if theirs.shape[0] < own.shape[0]:
        return (
            f"the teacher reads {theirs.shape[0]} tokens at most, the student {own.shape[0]}; "
            f"set data.max_length={theirs.shape[0]}"
        )
    return ""


def _other_images(theirs: DataSpec, own: DataSpec) -> str:
    if theirs.shape != own.shape:
        sides = [" x ".join(map(str, spec.shape)) for spec in (theirs, own)]
        return f"the teacher's pictures are {sides[0]} (channels, height, width), the student's {sides[1]}"
    for name in ("mean", "std"):
        first, second = getattr(theirs, name), getattr(own, name)
        if len(first) != len(second) or any(abs(a - b) > CLOSE for a, b in zip(first, second, strict=True)):
            return (
                f"the teacher's pictures are normalised by a {name} of {_row(first)}, the student's by {_row(second)}; "
                "set data.normalisation as the teacher's run has it, or train the teacher on these data"
            )
    return ""


def _digest(files: Mapping[str, str]) -> str:
    """Return the SHA-256 of the tokenizer's own file, or of all files where it has another name."""
    names = ["tokenizer.json"] if "tokenizer.json" in files else sorted(files)
    return hashlib.sha256("\0".join(files[name] for name in names).encode()).hexdigest()


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _row(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
