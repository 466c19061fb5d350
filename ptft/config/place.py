"""Where the run of each job belongs, and how Hydra's own folders are told the same."""

import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ptft.config.arguments import Arguments, parse_overrides, plain_value, quoted
from ptft.runtime.find import is_path
from ptft.sweep.study import FILE as STUDY

Renamer = Callable[[dict[str, Any], dict[str, str]], None]
"""Sets `output_root` and `name` in a config whose group choices are given."""
_LONGEST_LABEL = 100
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


def unused_name(verb: str, label: str) -> str:
    """Return a name for a run: verb, label, UTC time and four hex digits."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"{verb}-{label.replace('/', '_')}-{stamp}-{secrets.token_hex(2)}"


class Place:
    """The run directories of one command line.

    A single run becomes `<output_root>/<name>`, a sweep `<output_root>/<name>/<job number>`. A name is made once where
    none is given. Hydra's `hydra.run.dir` and `hydra.sweep.dir` mean the same folders when a user sets them.
    """

    def __init__(self, verb: str, arguments: Arguments, sweep: Path | None = None) -> None:
        """Find out what a command line says of its folders.

        Args:
            verb: The command.
            arguments: Its command line.
            sweep: The folder of the sweep that is gone on with.
        """
        self.verb = verb
        self.resumed = self.ours = sweep is not None
        self.multirun = arguments.multirun
        single, _ = parse_overrides([text for text in arguments.overrides if text.startswith("hydra.")])
        self.run_dir = plain_value(single, "hydra.run.dir")
        self.sweep_dir = str(sweep) if sweep is not None else plain_value(single, "hydra.sweep.dir")
        self.sweep_subdir = plain_value(single, "hydra.sweep.subdir")
        self.named_by_job = False
        parser = OverridesParser.create()
        for text in arguments.overrides:
            if text.startswith("name="):
                with contextlib.suppress(HydraException):  # told when the jobs are checked
                    self.named_by_job = parser.parse_override(text).is_sweep_override()

    def renamer(self, job: int | None, output_dir: Path | None = None, *, probing: bool = False) -> Renamer:
        """Return what puts the place of a job into its config.

        Args:
            job: Number of the job in a sweep; None for a single run.
            output_dir: The folder that Hydra made for the job, where the user chose its name.
            probing: Whether the job is only looked at, and may not mind what lies in the folder of a sweep of ours.
        """

        def rename(config: dict[str, Any], choices: dict[str, str]) -> None:
            if self.verb == "predict":
                return  # it makes no run directory
            if config.get("resume") is not None or (job is not None and self.named_by_job):
                return
            name = config.get("name")
            made = str(name) if name is not None else unused_name(self.verb, self._label(config, choices))
            if job is None:
                chosen = Path(self.run_dir) if self.run_dir else None
            else:
                self.sweep_dir = self.sweep_dir or str(Path(str(config.get("output_root"))) / made)
                there = probing and (Path(self.sweep_dir) / STUDY).exists()
                chosen = output_dir or Path(self.sweep_dir) / (f"new-{job}" if there else str(job))
            if chosen is None:
                config["name"] = made
            elif job is None:
                config["output_root"], config["name"] = str(chosen.parent), chosen.name
            else:
                sweep = Path(str(self.sweep_dir))
                config["output_root"] = str(sweep.parent)
                config["name"] = f"{sweep.name}/{chosen.relative_to(sweep)}"

        return rename

    def overrides(self, quiet: tuple[str, ...]) -> list[str]:
        """Return the overrides that make Hydra's folders those of ptft; `quiet` keeps it from writing elsewhere."""
        if not self.multirun or self.sweep_dir is None:
            return [*quiet, "hydra.sweep.dir=.", "hydra.sweep.subdir=."]
        # ptft makes each job's folder itself; Hydra's own would be there already.
        subdir = [] if self.sweep_subdir else ["hydra.sweep.subdir=."]
        return [*quiet, f"hydra.sweep.dir={quoted(self.sweep_dir)}", *subdir]

    def take_over(self, output_dir: str, *, always: bool = False) -> Path | None:
        """Free the folder that Hydra made for a job; return it where the user chose its name.

        Args:
            output_dir: The folder.
            always: Free it whoever chose its name.
        """
        if always:
            with contextlib.suppress(OSError):
                Path(output_dir).rmdir()  # only when empty
            return None
        if not (self.multirun and self.sweep_subdir and self.sweep_dir):
            return None
        folder = Path(output_dir)
        with contextlib.suppress(OSError):
            folder.rmdir()  # only when empty
        return Path(self.sweep_dir) / folder.relative_to(Path(self.sweep_dir).absolute())

    @staticmethod
    def _label(config: dict[str, Any], choices: dict[str, str]) -> str:
        """Return the word of a made name that tells what the run is about."""
        run = config.get("run")
        if run is not None and (isinstance(run, list) or "experiment" not in choices):
            runs = [str(item) for item in (run if isinstance(run, list) else [run])]
            # `sweep/4` alone would be 4
            words = [Path(one).name if is_path(one) else one.strip("/").replace("/", "-").lstrip("@") for one in runs]
            return "_vs_".join(words)[:_LONGEST_LABEL]
        return choices.get("experiment") or choices.get("data") or "run"
