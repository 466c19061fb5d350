"""A process that opens one artefact, runs one batch and tells its memory: numpy and the runtime, no torch.

python -m ptft.compression.memory_probe FOLDER ARRAYS.npz THREADS
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ptft.runtime.session import open_session


def peak_bytes() -> int:
    """Return the largest resident memory that this process took since its program began."""
    # On Linux ru_maxrss also counts what the process before exec held, which is the one that started it.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024  # KiB
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def report(before: int) -> str:
    """Return the line that `peak_memory` reads.

    Args:
        before: What `peak_bytes` gave before the model was loaded.
    """
    return json.dumps({"peak_bytes": peak_bytes(), "before_bytes": before})


def main(arguments: Sequence[str]) -> None:
    """Open, run, report.

    Args:
        arguments: The folder of an artefact, a file of arrays by input name, the number of threads.
    """
    folder, arrays, threads = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    with np.load(arrays, allow_pickle=False) as file:
        inputs = {name: file[name] for name in file.files}
    # ptft.model.artefact, which checks digests too, imports torch.
    facts = json.loads((folder / "artefact.json").read_bytes())
    before = peak_bytes()
    open_session(folder / Path(facts["file"]).name, str(facts["runtime"]), threads=threads).run(inputs)
    print(report(before))


if __name__ == "__main__":
    main(sys.argv[1:])
