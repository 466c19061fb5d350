"""Sweeps of a command that trains nothing, some of whose trials fail."""

import json
import os
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from ptft.errors import DivergedError
from ptft.sweep.trial import Measured
from tests.sweep.studies import trials


def judge(config, invocation):
    """Stand in for a training: leaves word that it ran, and is better the nearer the rate is to 0.01."""
    folder = Path(config["output_root"], config["name"])
    with Path("ran.txt").open("a") as file:
        file.write(f"{folder.name}\n")
    folder.mkdir(parents=True, exist_ok=True)
    record = {"id": folder.name, "name": folder.name, "command": "finetune", "status": "done"}
    (folder / "run.json").write_text(json.dumps(record))
    return [Measured("val/accuracy", "max", 1 - abs(config["optimizer"]["lr"] - 0.01))]


@dataclass(frozen=True)
class Night:
    """A grid of trials, four of which fail in the four ways that trials fail; killed a few times on the way."""

    trials: int
    failing: tuple[int, int, int, int]
    kills: int

    @property
    def words(self):
        return ("-m", f"engine.seed=range(0,{self.trials})", "name=night", "sweep.parallel=2")

    def run(self, config, invocation):
        a_bug, a_kill, a_hog, a_divergence = self.failing
        match invocation.job:
            case number if number == a_bug:
                raise ZeroDivisionError("a bug")
            case number if number == a_kill:
                os.kill(os.getpid(), signal.SIGKILL)
            case number if number == a_hog:
                torch.empty(10**15)
            case number if number == a_divergence:
                raise DivergedError("the loss is nan at step 3")
        return judge(config, invocation)

    def check(self):
        found = trials("night")
        assert [trial.number for trial in found] == list(range(self.trials))
        assert Counter(trial.state for trial in found) == {"done": self.trials - 4, "failed": 4}
        reasons = [trial.reason for trial in found if trial.state == "failed"]
        assert [trial.number for trial in found if trial.state == "failed"] == list(self.failing)
        assert reasons[0] == "ZeroDivisionError: a bug" and reasons[1].startswith("killed by SIGKILL")
        assert reasons[2:] == ["out of memory", "non-finite loss"]
        error = found[self.failing[0]].error
        assert "a bug" in error and "Traceback" in error
        folders = {path.name for path in Path("outputs/night").glob("[0-9]*")}
        assert folders == set(map(str, range(self.trials)))
