"""A process that has imported everything and forks one training a request: a trial then costs no import.

It never runs a backward pass itself, as torch refuses one in a child forked after that. One JSON object a line:
{"run": [overrides], "path": run directory} -> {"pid": n};  {"wait": n} -> {"status": exit code, or -signal}.
"""

import functools
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import sklearn.datasets  # noqa: F401
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ptft.command import training
from ptft.config.invocation import Invocation
from ptft.errors import INTERRUPTED, PtftError

CONFIGS = Path(__file__).parents[2] / "configs"


@functools.lru_cache
def composed(overrides: tuple[str, ...]) -> Any:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return OmegaConf.to_container(compose("finetune", overrides=list(overrides)), resolve=True)


def run(overrides: tuple[str, ...], path: Path) -> None:
    """Train in this process, going on where the run of that path stopped, and exit as the command line does."""
    config = {**composed(overrides), "output_root": str(path.parent), "name": path.name}
    resume = path if (path / "run.json").is_file() else None
    try:
        training.train(config, Invocation(verb="finetune", argv=("ptft",), overrides=("name=x",), resume=resume))
        code = 0
    except PtftError as error:
        print(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    os._exit(code)


def run_and_exit(overrides: tuple[str, ...], path: Path) -> None:
    """Train and exit; an interrupt that comes while the end of another is being told is caught, as by `ptft`."""
    try:
        run(overrides, path)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            reply = {"status": os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])}
        else:
            overrides, path = tuple(request["run"]), Path(request["path"])
            composed(overrides)
            pid = os.fork()
            if pid == 0:
                output = os.open(f"{path}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(output, 1)
                os.dup2(output, 2)
                run_and_exit(overrides, path)
            reply = {"pid": pid}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
