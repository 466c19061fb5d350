"""What the keys of `predict` mean together: what is read, where it is written, and what is there already."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ptft.config.kinds import Complaint
from ptft.config.problems import nearest, shown
from ptft.runtime.records import part_of, rows_there

STANDARD = "-"
"""Standard input, or standard output."""
OUTPUTS = (".jsonl", ".csv")
"""How files of predictions end."""
_PATH = re.compile(r"[\w.~@+=:%-]*/[\w./~@+=:%-]*|~\w*|[\w.@+=:%-]+\.[A-Za-z][A-Za-z0-9]{0,9}")
"""What looks like a path: one word, without a sentence's signs, that holds a slash or ends as files do."""


def existing(text: str) -> Path | None:
    """Return the file or folder of this name, or None."""
    try:
        path = Path(text).expanduser()
        return path if text.strip() and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long for a name, or no name of a file at all
        return None


def check_prediction(config: Mapping[str, Any]) -> Iterator[Complaint]:
    """Yield what is wrong with input and output of a prediction whose values have the right types."""
    given, prompt = config.get("input"), config.get("prompt")
    if (given is None) == (prompt is None):
        what = "is missing, and so is prompt=" if given is None else "cannot stand beside prompt=; drop one of the two"
        yield (
            "input",
            f"{what}. input=FILE, input=FOLDER or input='a text' says what to predict on" if not given else what,
        )
    elif isinstance(given, str):
        yield from _check_input(given)
    if prompt == []:
        yield "prompt", "takes at least one text, found an empty list"
    if isinstance(config.get("output"), str):
        yield from _check_output(config, str(config["output"]), given)


def _check_input(given: str) -> Iterator[Complaint]:
    if not given.strip():
        yield "input", "is an empty text"
    elif given != STANDARD and existing(given) is None and _PATH.fullmatch(given):
        path = Path(given).expanduser()
        folder = path.parent
        near = (
            nearest(path.name, [one.name for one in folder.iterdir()])
            if folder.is_dir()
            else f": there is no folder {folder}"
        )
        text = f"there is no {given}{near}"
        yield "input", f"{text} (a single word that is meant as a text comes by `echo WORD | ptft predict input=-`)"


def _check_output(config: Mapping[str, Any], output: str, given: Any) -> Iterator[Complaint]:
    going_on, anew = config.get("resume") is True, config.get("overwrite") is True
    if going_on and anew:
        yield "overwrite", "cannot stand beside resume=true, which goes on with what is there"
    if output == STANDARD:
        if going_on:
            yield "resume", "goes on with a file, but output=- is standard output; give output=FILE.jsonl"
        return
    path = Path(output).expanduser()
    if special(path):
        return
    if path.is_dir():
        yield "output", f"takes a file, and {output} is a folder; give output={output.rstrip('/')}/predictions.jsonl"
    elif path.suffix not in OUTPUTS:
        yield "output", f"takes a file that ends with .jsonl or .csv, or - for standard output, found {shown(output)}"
    elif not path.parent.is_dir():
        yield "output", f"there is no folder {path.parent} to write {path.name} to; make it first"
    elif isinstance(given, str) and (source := existing(given)) is not None and source.resolve() == path.resolve():
        yield "output", f"{output} is what input= reads; give another file"
    elif not anew:
        yield from _check_present(path, going_on=going_on)


def special(path: Path) -> bool:
    """Tell whether a path is a device or a pipe, which is written as it is."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _check_present(path: Path, *, going_on: bool) -> Iterator[Complaint]:
    """Yield that an output is there, whole or in part; nothing is written over unless it is said."""
    part = part_of(path)
    if part.exists() and going_on:
        return
    if part.exists():
        held = f"{part} holds {rows_there(part)} of a prediction that was stopped"
        yield "output", f"{held}; resume=true goes on after them, overwrite=true starts anew"
    elif path.exists():
        whole = ", and no stopped prediction is there to go on with" if going_on else ""
        held = f"{path} is there and holds {rows_there(path)}{whole}"
        yield "output", f"{held}; overwrite=true starts anew, or give another file"
