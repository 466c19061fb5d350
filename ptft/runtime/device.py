"""Which device a run uses and what is worth recording about it."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from ptft.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """Return the device called `auto`, `cpu`, `cuda` or `mps`; auto takes the first of cuda, mps, cpu that is there.

    Raises:
        ConfigError: The device asked for is not on this machine.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device, is_there in available.items() if is_there)
        raise ConfigError(f"engine.device={name}: no such device on this machine; here are: {there} (or auto)")
    return torch.device(name)


def cpu_flags() -> tuple[str, ...]:
    """Return the vector and matrix instruction sets of the CPU that decide speed and rounding."""
    wanted = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    present = set(text.partition("flags")[2].partition("\n")[0].split())
    return tuple(flag for flag in wanted if flag in present)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 matrices in hardware, so that bf16 may be worth a try."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool({"amx_bf16", "avx512_bf16"} & set(cpu_flags()))


def versions() -> dict[str, Any]:
    """Return what the result of a run may depend on: versions, CPU, threads."""
    from importlib.metadata import version

    return {
        "ptft": version("ptft"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cpu_flags": list(cpu_flags()),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }


def peak_memory_bytes(device: torch.device) -> int:
    """Return the largest memory the process took: of the GPU on CUDA, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def set_deterministic(enabled: bool) -> None:
    """Let torch use deterministic algorithms only, or again the fastest ones; an operation without one raises."""
    if enabled == torch.are_deterministic_algorithms_enabled():
        return  # even switching off what is off imports torch's compiler, which takes seconds
    if enabled:
        # cuBLAS reads this when its first handle is made (CUDA documentation, "Reproducibility").
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(enabled)
