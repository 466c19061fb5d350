"""A profile of some training steps: a trace for a browser and a table of the most expensive operations."""

from pathlib import Path

import torch

_WAIT, _WARMUP, _ACTIVE = 5, 2, 10
"""Steps passed over, steps traced but thrown away, steps kept."""


_STEPS = _WAIT + _WARMUP + _ACTIVE


class Profiler:
    """Profiles the steps inside the block; does nothing when switched off.

    Writes `profile.json` (for chrome://tracing or ui.perfetto.dev) and `profile.txt` to `directory`.
    """

    def __init__(self, enabled: bool, directory: Path, steps: int) -> None:
        self._directory = directory
        self._profile: torch.profiler.profile | None = None
        if enabled:
            wait, warmup, active = _WAIT, _WARMUP, _ACTIVE
            if steps < _STEPS:  # a short training is kept whole, but for the first step
                wait, warmup, active = 0, int(steps > 1), max(1, steps - 1)
            schedule = torch.profiler.schedule(wait=wait, warmup=warmup, active=active, repeat=1)
            self._profile = torch.profiler.profile(schedule=schedule, on_trace_ready=self._write)

    def __enter__(self) -> "Profiler":
        if self._profile is not None:
            self._profile.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._profile is not None:
            self._profile.stop()

    def step(self) -> None:
        """Note the end of a step."""
        if self._profile is not None:
            self._profile.step()

    def _write(self, profile: torch.profiler.profile) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        profile.export_chrome_trace(str(self._directory / "profile.json"))
        table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
        (self._directory / "profile.txt").write_text(table, encoding="utf-8")
