"""Trainings in processes of their own that a test may kill, and what must be equal when they are done."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ptft.engine.checkpoint import CheckpointStore
from ptft.engine.run_dir import RunDirectory
from ptft.engine.state import flatten

OVERRIDES = (
    "model=vision/mlp", "model.norm=batch", "model.dropout=0.2", "model.hidden=[32]", "augmentation=vision/shift",
    "engine.max=40st", "engine.checkpoint_every=3st", "engine.log_every=4st", "engine.evaluate_every=10st",
    "engine.batch_size=32", "engine.precision=fp32", "engine.device=cpu", "engine.memory_format=contiguous",
    "engine.ema={decay:0.9,warmup:true}", "schedule.warmup=5st",
)  # fmt: skip
TIMES = ("time", "cpu", "examples_per_second")


class Zygote:
    """Starts trainings; see tests/engine/zygote.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def start(self, path: Path, *overrides: str) -> int:
        return self._ask(run=[*OVERRIDES, *overrides], path=str(path))["pid"]

    def wait(self, pid: int) -> int:
        """Return the exit code, or the negative number of the signal that ended the process."""
        return self._ask(wait=pid)["status"]

    def run(self, path: Path, *overrides: str) -> int:
        return self.wait(self.start(path, *overrides))

    def run_and_send(self, path: Path, seconds: float, *signals: int) -> int:
        """Start a training, send it signals after so many seconds, and wait for its end."""
        pid = self.start(path)
        time.sleep(seconds)
        for number in signals:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            time.sleep(0.01)
        return self.wait(pid)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)

    def _ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def result(path: Path) -> dict:
    """Return everything of a finished run that no interruption may change: hashes of files and state, exact metrics."""
    run = RunDirectory.reopen(path)
    assert (run.record["status"], run.record["exit_code"]) == ("done", 0)
    store = CheckpointStore(run.checkpoints, run.id)
    checkpoint = store.load_named("last")
    state = dict(checkpoint.state)
    del state["stopwatch"]
    skeleton, tensors = flatten({"tensors": checkpoint.tensors, **state})
    digest = hashlib.sha256(json.dumps(skeleton, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    summary = json.loads((path / "summary.json").read_bytes())
    assert not list(path.rglob(".tmp-*"))
    return {
        "state": digest.hexdigest(),
        "checkpoints": store.steps(),
        "pointers": [store.pointed(name) for name in ("last", "best")],
        "metrics": [{key: row[key] for key in row if key not in TIMES} for row in run.read_metrics()],
        "summary": {key: summary[key] for key in summary if key not in ("cost", "checkpoint")},
        "model": hashlib.sha256((path / "model" / "model.safetensors").read_bytes()).hexdigest(),
        "predictions": hashlib.sha256((path / "predictions.csv").read_bytes()).hexdigest(),
    }


def steps_done(path: Path) -> int:
    """Return the newest step that a run has a checkpoint of."""
    return max(CheckpointStore(path / "checkpoints", "").steps(), default=0)


SIGKILL, SIGTERM, SIGINT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
