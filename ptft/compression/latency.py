"""Latency of several networks side by side: called in turn, round after round, so that a busy moment meets them all.

median of ratios    two networks are compared within each round; the median over the rounds is what is said
balanced order      no network always follows the same one (E. J. Williams, Aust. J. Sci. Res. A 2, 1949)
warm                calls that do not count come first, at the start and at each visit
"""

import contextlib
import gc
import itertools
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ptft.model.artefact import Artefact
from ptft.runtime.device import cpu_flags
from ptft.runtime.session import open_session
from ptft.runtime.threads import cores

Arrays = Mapping[str, np.ndarray]
"""What a network takes, by name and in order; the first axis of each is the batch."""
_LEAST_ROUNDS = 5
"""Rounds that are measured however slow a network is."""
_MOST_CALLS = 1000
"""Calls of one visit; a network that takes less than a 30,000th of a second is called no more often."""
_WARM_CALLS = 3
_SOME_WORK = 0.3
"""Cores that an otherwise quiet machine may use for itself."""
_WARM_SHARE = 10
"""One call that does not count for so many that do: threads of the network before may still spin on a core."""


@dataclass(frozen=True)
class Latency:
    """How long one call takes, in seconds.

    Attributes:
        p50: Median over all calls.
        p95: 95th percentile over all calls.
        calls: How many calls these are of.
        rounds: Median of each round, for ratios.
    """

    p50: float
    p95: float
    calls: int
    rounds: tuple[float, ...]


def ratio(slow: Latency, fast: Latency) -> float:
    """Return how many times faster `fast` is than `slow`: the median of the ratios of each round.

    Both were measured together, by one `measure_latency`.
    """
    return statistics.median(a / b for a, b in zip(slow.rounds, fast.rounds, strict=True))


def measure_latency(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 15,
    seconds: float = 0.03,
    most_seconds: float = 60.0,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Latency]:
    """Return the latency of each contender, all of them visited in every round.

    Args:
        contenders: What to call, by name.
        rounds: How many rounds.
        seconds: How long a visit lasts at least; a fast contender is called many times in it.
        most_seconds: Where all rounds would take longer there are fewer, down to five.
        clock: Tells nanoseconds; wall-clock time.
    """
    names = list(contenders)
    single = {name: _warm(contenders[name], seconds, clock) for name in names}
    calls = {name: min(max(math.ceil(seconds / single[name]), 1), _MOST_CALLS) for name in names}
    extra = {name: math.ceil(calls[name] / _WARM_SHARE) for name in names}
    cost = sum((calls[name] + extra[name]) * single[name] for name in names)
    rounds = min(rounds, max(_LEAST_ROUNDS, int(most_seconds / cost))) if names else 0
    times: dict[str, list[list[float]]] = {name: [] for name in names}
    with _without_collector():
        for order in itertools.islice(balanced_orders(len(names)), rounds):
            for name in (names[place] for place in order):
                _calls(contenders[name], extra[name], clock)
                times[name].append(_calls(contenders[name], calls[name], clock))
    return {name: _latency(visits) for name, visits in times.items()}


def balanced_orders(number: int) -> Iterator[list[int]]:
    """Yield orders of 0 to number - 1 without end; within a cycle each follows each other equally often.

    A cycle is a square of Williams: 0, n-1, 1, n-2 ... and its shifts; for an odd number also each of them backwards.
    """
    zigzag = [place // 2 if place % 2 == 0 else number - 1 - place // 2 for place in range(number)]
    for shift in itertools.cycle(range(max(number, 1))):
        order = [(place + shift) % number for place in zigzag]
        yield order
        if number % 2:
            yield order[::-1]


def measure_stages(
    networks: Mapping[str, nn.Module],
    artefacts: Mapping[str, Artefact],
    inputs: Arrays,
    *,
    threads: int,
    batch_sizes: Sequence[int] = (1, 32),
    rounds: int = 15,
) -> dict[str, dict[int, Latency]]:
    """Return the latency of networks in eager PyTorch and of artefacts, all measured together, by name and batch size.

    Args:
        networks: Modules on the CPU in evaluation mode, by name.
        artefacts: Exported networks by other names.
        inputs: An example batch; its rows are repeated or left out for each batch size, its texts keep their length.
        threads: Threads of one call.
        batch_sizes: Examples of one call.
        rounds: How often all are timed in turn.
    """
    found: dict[str, dict[int, Latency]] = {name: {} for name in (*networks, *artefacts)}
    with torch_threads(threads):
        for size in batch_sizes:
            batch = with_batch_size(inputs, size)
            contenders = {name: eager_runner(network, batch) for name, network in networks.items()}
            contenders |= {name: runner(artefact, batch, threads) for name, artefact in artefacts.items()}
            for name, latency in measure_latency(contenders, rounds=rounds).items():
                found[name][size] = latency
    return found


def runner(artefact: Artefact, inputs: Arrays, threads: int) -> Callable[[], object]:
    """Return what runs an artefact once; the session is opened here.

    Raises:
        ConfigError: Its runtime is not installed.
        CheckpointError: The runtime cannot read it.
    """
    session = open_session(artefact.path, artefact.runtime, threads=threads)
    return lambda: session.run(inputs)


def eager_runner(network: nn.Module, inputs: Arrays) -> Callable[[], object]:
    """Return what runs a module once in inference mode, given the inputs in their order; `torch_threads` goes around.

    Args:
        network: On the CPU, in evaluation mode.
        inputs: Its arguments.
    """
    assert not network.training, "dropout is no part of a latency"
    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.values()]

    def run() -> object:
        with torch.inference_mode():
            return network(*tensors)

    return run


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def with_batch_size(inputs: Arrays, size: int) -> dict[str, np.ndarray]:
    """Return inputs of so many examples: the first ones, and all again where they are too few."""
    return {name: np.ascontiguousarray(array[np.arange(size) % len(array)]) for name, array in inputs.items()}


def sequence_length(inputs: Arrays) -> int | None:
    """Return the tokens of each example where the inputs are tokens, else None."""
    return next((array.shape[1] for array in inputs.values() if array.ndim == 2 and array.dtype.kind in "iu"), None)


def machine_facts(threads: int, inputs: Arrays | None = None) -> dict[str, Any]:
    """Return what a latency depends on beside the network: CPU, threads, versions, and the length of the texts.

    Args:
        threads: Threads of one call.
        inputs: The example batch.
    """
    length = sequence_length(inputs or {})
    return {
        "cpu": _cpu_name(),
        "cpu_flags": list(cpu_flags()),
        "cores": cores(),
        "threads": threads,
        **({} if length is None else {"sequence_length": length}),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: found for name in ("onnxruntime", "openvino", "ptft") if (found := _version(name)) is not None},
    }


def busy_warning(threads: int, seconds: float = 0.3) -> str | None:
    """Return a warning where other processes leave less than the cores that are to be measured, else None.

    Threads that wait for each other suffer most from that: eager PyTorch was seen a hundred times slower on two busy
    cores, and whatever is compared with it looks as much better.

    Args:
        threads: Threads of one call.
        seconds: How long to look; nothing of this process should run meanwhile.
    """
    before = _idle_seconds()
    time.sleep(seconds)
    after = _idle_seconds()
    if before is None or after is None:
        return None
    idle = (after - before) / seconds
    if idle >= min(threads, cores()) - _SOME_WORK:
        return None
    return (
        f"other processes keep this machine busy: {max(idle, 0):.1f} of {cores()} cores are idle and {threads} are "
        "measured; latencies and speed-ups will be off. Measure again when it is quiet, or with fewer threads"
    )


def _idle_seconds() -> float | None:
    """Return how long all cores together have been idle since the start of the machine, where Linux tells it."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")  # idle, and waiting for a disk
    except (OSError, ValueError, IndexError):
        return None


def _warm(call: Callable[[], object], seconds: float, clock: Callable[[], int]) -> float:
    """Call until all is in place, and return roughly how long one call takes, in seconds."""
    times: list[float] = []
    while len(times) < _WARM_CALLS or (sum(times) < seconds and len(times) < _MOST_CALLS):
        times += _calls(call, 1, clock)
    return max(statistics.median(times), 1e-9)


def _calls(call: Callable[[], object], number: int, clock: Callable[[], int]) -> list[float]:
    """Return the seconds of each of several calls."""
    times = []
    for _ in range(number):
        start = clock()
        call()
        times.append((clock() - start) * 1e-9)
    return times


def _latency(visits: list[list[float]]) -> Latency:
    times = [one for visit in visits for one in visit]
    p50, p95 = (float(np.percentile(times, share)) for share in (50, 95))
    return Latency(p50, p95, len(times), tuple(statistics.median(visit) for visit in visits))


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python's garbage collector from running within a call, as timeit does."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
