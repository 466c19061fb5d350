"""Peak resident memory of a network that runs alone, in a fresh process of its own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ptft.compression.latency import Arrays
from ptft.model.artefact import Artefact
from ptft.runtime.text import shortened

TIMEOUT_SECONDS = 300.0
"""How long a process may take to load a network and run one batch."""


def artefact_memory(
    artefact: Artefact, inputs: Arrays, *, threads: int, warn: Callable[[str], None], timeout: float = TIMEOUT_SECONDS
) -> int | None:
    """Return the peak memory of a process that opens an artefact and runs a batch, in bytes; None if it failed.

    Args:
        artefact: An exported network.
        inputs: The batch, by input name.
        threads: Threads of the runtime.
        warn: Is told why there is no figure.
        timeout: Seconds until it is given up.
    """
    with tempfile.TemporaryDirectory(prefix="ptft-memory-") as place:
        arrays = Path(place) / "arrays.npz"
        np.savez(arrays, **inputs)  # type: ignore[arg-type]
        return peak_memory(probe_command(artefact.folder, arrays, threads), timeout, warn)


def probe_command(folder: Path, arrays: Path, threads: int) -> list[str]:
    """Return the command that measures an artefact.

    Args:
        folder: The folder of the artefact.
        arrays: An .npz file with a batch.
        threads: Threads of the runtime.
    """
    # -P: a file numpy.py in the folder where ptft was called is no part of it.
    module = "ptft.compression.memory_probe"
    return [sys.executable, "-P", "-m", module, str(folder.resolve()), str(arrays.resolve()), str(threads)]


def peak_memory(command: Sequence[str], timeout: float, warn: Callable[[str], None]) -> int | None:
    """Run a command that ends with a line of `memory_probe.report`, and return its peak memory in bytes.

    Args:
        command: The command.
        timeout: Seconds until it is given up.
        warn: Is told why there is no figure, where None is returned.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        warn(f"peak memory was not measured: the process took longer than {timeout:g} s")
        return None
    except OSError as error:
        warn(f"peak memory was not measured: {error}")
        return None
    if done.returncode:
        killed = f"was ended by signal {-done.returncode}" if done.returncode < 0 else f"failed ({done.returncode})"
        told = done.stderr.strip().splitlines()
        warn(f"peak memory was not measured: the process {killed}{': ' + shortened(told[-1], 200) if told else ''}")
        return None
    for line in reversed(done.stdout.splitlines()):
        if (found := _peak(line)) is not None:
            return found
    warn("peak memory was not measured: the process said nothing of it")
    return None


def _peak(line: str) -> int | None:
    """Return what a line tells of the peak, if it does."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    peak = values.get("peak_bytes") if isinstance(values, dict) else None
    return peak if isinstance(peak, int) and not isinstance(peak, bool) else None
