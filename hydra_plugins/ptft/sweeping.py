"""Hydra's doors to our sweepers and our launcher; what they do is decided in `ptft/config/conduct.py`.

    hydra/sweeper=auto|grid|random|tpe|asha      hydra/launcher=processes

Both ask the task function, which `ptft/config/hydra_app.py` made, for what was typed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OwnSweeper(Sweeper):
    """Sweeps as `sweep.*` says, by one of our methods."""

    def __init__(self, method: str, **settings: Any) -> None:
        self.method = method
        self.settings = settings
        self.task: Any = None
        self.launcher: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self.task = task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; `arguments` is what was typed, which has been read already."""
        from ptft.config.conduct import Hands, conduct

        jobs = self.task.jobs
        ours = self.launcher.settings if isinstance(self.launcher, OwnLauncher) else None
        return conduct(
            jobs.orders, self.method, self.settings, Hands(jobs.trial, jobs.request, ours, self.launcher.launch)
        )


class OwnLauncher(Launcher):
    """Runs each trial in a process of its own."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.task: Any = None
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self.task = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs for a sweeper that is not ours, and wait for all of them."""
        from ptft.config.conduct import launch_all
        from ptft.errors import ConfigError

        jobs = self.task.jobs
        if jobs.orders is None:
            raise ConfigError(
                "hydra/launcher=processes numbers the folders of its jobs: leave out hydra.sweep.subdir and several "
                "values of name, or take hydra/launcher=basic"
            )
        ended = launch_all(jobs.trial, jobs.request, jobs.orders, job_overrides, initial_job_idx, self.settings)
        found = []
        for overrides, outcome in zip(job_overrides, ended, strict=True):
            failed = outcome.state == "failed"
            one = JobReturn(overrides=overrides, status=JobStatus.FAILED if failed else JobStatus.COMPLETED)
            values = [measured.value for measured in outcome.measured]
            one.return_value = RuntimeError(outcome.error) if failed else values[0] if len(values) == 1 else values
            found.append(one)
        return found


@dataclass
class AutoConf:
    """`hydra/sweeper=auto`: a grid of what can be counted, else tpe."""

    _target_: str = "hydra_plugins.ptft.sweeping.OwnSweeper"
    method: str = "auto"
    seed: int = 0


@dataclass
class GridConf(AutoConf):
    """`hydra/sweeper=grid`."""

    method: str = "grid"


@dataclass
class RandomConf(AutoConf):
    """`hydra/sweeper=random`."""

    method: str = "random"


@dataclass
class TpeConf(AutoConf):
    """`hydra/sweeper=tpe`; `startup` points are drawn at random first."""

    method: str = "tpe"
    startup: int = 10


@dataclass
class AshaConf(AutoConf):
    """`hydra/sweeper=asha`; one in `reduction` goes on from each of `rungs` rungs."""

    method: str = "asha"
    reduction: int = 3
    rungs: int = 3


@dataclass
class ProcessesConf:
    """`hydra/launcher=processes`; `start` is fork, spawn, or auto: what the machine allows."""

    _target_: str = "hydra_plugins.ptft.sweeping.OwnLauncher"
    start: str = "auto"


_STORE = ConfigStore.instance()
for _name, _node in {
    "auto": AutoConf,
    "grid": GridConf,
    "random": RandomConf,
    "tpe": TpeConf,
    "asha": AshaConf,
}.items():
    _STORE.store(group="hydra/sweeper", name=_name, node=_node, provider="ptft")
_STORE.store(group="hydra/launcher", name="processes", node=ProcessesConf, provider="ptft")
