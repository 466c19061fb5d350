"""Finding the run that a command line names: by name, as `@latest`, or by path. Imports no torch."""

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptft.errors import ConfigError

LATEST = "@latest"
BEST_OF = "best-of:"
"""Before the name or the path of a sweep: the best of its trials."""
TRAINED = ("pretrain", "finetune")
"""Commands whose runs hold a network that is trained on."""
HOLDING = (*TRAINED, "compress")
"""Commands whose runs hold a model to be used."""
REMOTES = {
    "torchvision": (r"\w+\.\w+", "ResNet18_Weights.IMAGENET1K_V1"),
    "hub": (r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?", "google/vit-base-patch16-224"),
}
"""Where weights may lie beside this disk: the form of a name there, and one of them."""
WEIGHT_FILES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
"""How files of weights are called; a name that ends so is hardly that of a run."""
_SHOWN = 8  # names listed in an error


@dataclass(frozen=True)
class Remote:
    """Weights that lie elsewhere, and may be in a cache here.

    Attributes:
        place: `torchvision` or `hub`.
        name: Their name there.
    """

    place: str
    name: str

    def __str__(self) -> str:
        return f"{self.place}:{self.name}"


def is_path(reference: str) -> bool:
    """Tell whether a reference is a path (`./x`, `/x`, `~/x`) and not a name."""
    return reference.startswith(("./", "../", "/", "~")) or reference in (".", "..")


def read_record(run: Path) -> dict[str, Any]:
    """Return what run.json says, or an empty mapping where there is none that can be read."""
    try:
        record = json.loads((run / "run.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def list_runs(output_root: Path, commands: Sequence[str] = ()) -> list[Path]:
    """Return the runs under a folder, those of sweeps too, newest first; of some commands only, if any are named."""
    found = []
    for pattern in ("*/run.json", "*/*/run.json"):
        for file in output_root.glob(pattern):
            record = read_record(file.parent)
            if record and (not commands or record.get("command") in commands):
                # Runs of the same second are told apart by when their file was made.
                found.append((str(record.get("started", "")), file.stat().st_mtime, file.parent))
    return [run for _, _, run in sorted(found, reverse=True)]


def find_run(reference: str, output_root: str | Path = "outputs", commands: Sequence[str] = TRAINED) -> Path:
    """Return the run directory that a name, `@latest` or a path names.

    Args:
        reference: A name under `output_root`, `@latest`, `best-of:SWEEP`, or a path that starts with `./`, `/` or `~`.
        output_root: The folder of all runs.
        commands: The commands whose runs count for `@latest` and are offered in errors.

    Raises:
        ConfigError: There is no such run; the message says where was looked and which runs there are.
    """
    root = Path(output_root)
    if "\0" in reference or not reference.strip():
        raise ConfigError("takes the name or the path of a run, found no usable name")
    if reference.startswith(BEST_OF):
        return _best_of(reference.removeprefix(BEST_OF), root)
    if is_path(reference):
        path = Path(reference).expanduser()
        if (path / "run.json").is_file():
            return path
        what = "holds no run.json, so it is no run" if path.exists() else "does not exist"
        raise ConfigError(f"{reference} {what}; {_offer(reference, root, commands)}")
    if reference == LATEST:
        runs = list_runs(root, commands)
        if not runs:
            raise ConfigError(f"there is no run of {' or '.join(commands)} under {root}/ yet")
        return runs[0]
    path = root / reference
    inside = ".." not in Path(reference).parts
    if inside and (path / "run.json").is_file():
        return path
    here = ""
    if (beside := Path(reference)).exists():
        kind = "folder" if beside.is_dir() else "file"
        here = f"; the {kind} ./{reference} exists: write ./{reference} to mean it"
    elif beside.suffix in WEIGHT_FILES:
        here = f", and no file ./{reference}; a file is named by its path, as ./{reference} or /folder/{beside.name}"
    raise ConfigError(f"no run called `{reference}` under {root}/{here}; {_offer(reference, root, commands)}")


def _best_of(name: str, root: Path) -> Path:
    """Return the best trial of a sweep.

    Raises:
        ConfigError: There is no such sweep, or none of its trials has succeeded yet.
    """
    folder = Path(name).expanduser() if is_path(name) else root / name
    try:
        best = json.loads((folder / "sweep.json").read_bytes())["best"]
    except (OSError, ValueError, KeyError, TypeError):
        sweeps = sorted(file.parent.name for file in root.glob("*/sweep.json"))
        there = f"sweeps here: {', '.join(sweeps[-_SHOWN:])}" if sweeps else f"there are no sweeps under {root}/ yet"
        raise ConfigError(f"{BEST_OF}{name}: {folder} holds no sweep (no sweep.json); {there}") from None
    if best is None:
        raise ConfigError(f"{BEST_OF}{name}: no trial of {folder} has succeeded yet")
    run = folder / str(best["trial"])
    if not (run / "run.json").is_file():
        raise ConfigError(f"{BEST_OF}{name}: the best trial, {run}, is no longer there")
    return run


def find_weights(reference: str, output_root: str | Path = "outputs") -> Path | Remote:
    """Return what `init_from=` names: a run by name or `@latest`, the path of a run, a checkpoint, a folder or a file.

    Weights that lie elsewhere (`torchvision:...`, `hub:...`) are only named, neither looked for nor fetched.

    Raises:
        ConfigError: There is no such thing.
    """
    place, colon, name = reference.partition(":")
    if colon and place in REMOTES:
        form, example = REMOTES[place]
        if re.fullmatch(form, name, re.ASCII) is None or ".." in name:
            raise ConfigError(f"names no weights; expected a name such as {place}:{example}")
        return Remote(place, name)
    if "\0" not in reference and is_path(reference) and Path(reference).expanduser().exists():
        return Path(reference).expanduser()
    return find_run(reference, output_root)


def _offer(reference: str, root: Path, commands: Sequence[str]) -> str:
    names = [run.relative_to(root).as_posix() for run in list_runs(root, commands)]
    if not names:
        return f"there are no runs under {root}/ yet"
    near = difflib.get_close_matches(reference, names, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(f'`{name}`' for name in near)}? " if near else ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{meant}newest runs: {', '.join(names[:_SHOWN])}{more}"
