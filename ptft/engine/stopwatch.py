"""Time spent training: wall-clock and CPU seconds that survive a restart, and the rate since the last log point."""

import time
from collections.abc import Mapping


class Stopwatch:
    """Adds up seconds from a monotonic clock, so that a clock set back costs nothing."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._wall = time.monotonic()
        self._cpu = time.process_time()
        self._lap_step = 0
        self._lap_seconds = 0.0

    def start(self, step: int) -> None:
        """Start to count, from a step on."""
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._lap_step, self._lap_seconds = step, self.seconds

    def tick(self) -> None:
        """Bring the sums up to now."""
        wall, cpu = time.monotonic(), time.process_time()
        self.seconds += wall - self._wall
        self.cpu_seconds += cpu - self._cpu
        self._wall, self._cpu = wall, cpu

    def exclude(self, seconds: float) -> None:
        """Leave an evaluation out of the rate."""
        self._lap_seconds += seconds

    def steps_per_second(self, step: int) -> float:
        """Return the rate of training steps since the last call."""
        self.tick()
        steps, seconds = step - self._lap_step, self.seconds - self._lap_seconds
        self._lap_step, self._lap_seconds = step, self.seconds
        return steps / seconds if seconds > 0 else 0.0

    def state_dict(self) -> dict[str, float]:
        """Return the sums."""
        self.tick()
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take back the sums."""
        self.seconds, self.cpu_seconds = state["seconds"], state["cpu_seconds"]
