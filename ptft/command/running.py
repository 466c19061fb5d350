"""A command's run directory: what is written first, taken back when the command is refused, recorded at the end."""

import contextlib
import os
import re
import secrets
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ptft.command.source import read_json
from ptft.config.invocation import Invocation
from ptft.engine.console import Console
from ptft.engine.run_dir import NameTakenError, RunDirectory
from ptft.engine.signals import terminable
from ptft.errors import DONE, FAILED, INTERRUPTED, CheckpointError, ConfigError, GateError, Interrupted, PtftError
from ptft.runtime import files
from ptft.runtime.device import versions

Config = Mapping[str, Any]
_MADE_NAME = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$")
"""What a name ends with that ptft made itself."""


def open_run(config: Config, invocation: Invocation) -> RunDirectory:
    """Make the run directory, or go on with the one that is resumed; it is held until it is closed.

    Raises:
        ConfigError: It would overwrite the run that it starts from or measures.
        NameTakenError: There is a run of that name.
        CheckpointError: The directory cannot be made or opened.
    """
    facts: dict[str, Any] = {
        "name": config["name"],
        "command": invocation.verb,
        "argv": list(invocation.argv),
        "parents": _parents(invocation),
        "versions": versions(),
        "world_size": 1,
    }
    if invocation.resume is not None:
        run = RunDirectory.resume(invocation.resume)
        _say_what_differs(run.record.get("versions") or {}, facts["versions"])
        resumed = [*run.record.get("resumed", []), facts["argv"]]
        run.save(status="running", exit_code=None, error=None, ended=None, process=os.getpid(), resumed=resumed)
        return run
    name = str(config["name"])
    path = Path(config["output_root"]) / name
    for source in (
        invocation.init_from,
        invocation.teacher,
        invocation.run,
        *(subject.run for subject in invocation.compared),
    ):
        if isinstance(source, Path) and source.resolve().is_relative_to(path.resolve()):
            raise ConfigError(f"name={name}: {path} holds what this command reads ({source}); take another name")
    texts = {
        ".hydra/hydra.yaml": as_yaml(invocation.hydra),
        ".hydra/overrides.yaml": yaml.safe_dump(list(invocation.overrides)),
        ".hydra/config.yaml": as_yaml(config),
        "config.yaml": as_yaml(config),
    }
    try:
        return RunDirectory.create(path, overwrite=bool(config.get("overwrite")), facts=facts, texts=texts)
    except NameTakenError:
        if any(text.startswith("name=") for text in invocation.overrides) or not _MADE_NAME.search(name):
            raise
        # Of runs that start in the same second two may draw the same four digits.
        return open_run({**config, "name": name[:-4] + secrets.token_hex(2)}, invocation)


@contextlib.contextmanager
def withdrawn_if_refused(run: RunDirectory) -> Iterator[None]:
    """Take a new run directory away again when the block, which builds everything, refuses to.

    The name is free then, and a run that `overwrite=true` was to replace, or that was to go on, is as it was.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, PtftError) and not isinstance(error, Interrupted):
            run.withdraw()
        else:
            run.settle()
        raise
    run.settle()


@contextlib.contextmanager
def recorded(run: RunDirectory, console: Console, resuming: str | None = None) -> Iterator[None]:
    """Record in run.json how the block ends, and send what is said to log.txt.

    Args:
        run: The run, held.
        console: Where things are said.
        resuming: The command that goes on after an interruption; None: there is none.
    """
    console.log = run.log
    try:
        with terminable():
            yield
    except GateError as error:
        run.finish("done", error.exit_code, str(error))
        raise
    except (Interrupted, KeyboardInterrupt) as error:
        code = error.exit_code if isinstance(error, Interrupted) else INTERRUPTED
        with contextlib.suppress(CheckpointError):  # a disk that refuses must not hide why the run ended
            run.finish("interrupted", code, str(error) or "interrupted")
        if isinstance(error, Interrupted) and resuming is not None:
            raise Interrupted(f"{error}\ngo on with: {resuming}", code) from None
        raise
    except Exception as error:
        if run.withdrawn:
            raise
        text = str(error) if isinstance(error, PtftError) else traceback.format_exc()
        with contextlib.suppress(CheckpointError):
            run.finish("failed", getattr(error, "exit_code", FAILED), text)
            console.log(f"failed: {text}")
        raise
    else:
        run.finish("done", DONE)


def as_yaml(value: Mapping[str, Any]) -> str:
    """Return plain values as YAML, in their own order."""
    return yaml.safe_dump(dict(value), sort_keys=False)


def _parents(invocation: Invocation) -> list[dict[str, Any]]:
    """Return the runs this one comes from, with the digest of what was taken of them."""
    parents = []
    source = invocation.init_from
    if isinstance(source, Path):
        if (source / "run.json").is_file():
            record = RunDirectory.reopen(source).record
            summary = source / "summary.json"
            digest = read_json(summary).get("checkpoint") if summary.is_file() else None
            parents.append({"id": record["id"], "name": record["name"], "checkpoint": digest})
        elif (weights := source if source.is_file() else source / "model.safetensors").is_file():
            parents.append({"path": str(source), "checkpoint": files.digest(weights)})
    return parents


def _say_what_differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Say what keeps a resumed run from being bit-identical."""
    keys = ("torch", "threads", "cpu_flags", "cuda", "gpu")
    changed = [f"{key} {before.get(key)} -> {after[key]}" for key in keys if before.get(key) != after[key]]
    if changed:
        Console().warn(f"not bit-exact: {'; '.join(changed)}")
