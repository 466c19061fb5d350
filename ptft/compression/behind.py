"""Another network behind a task's `forward`: an exported one, or one that a step works on."""

import copy

from torch import nn

from ptft.errors import ConfigError
from ptft.task.task import Task


def with_network(task: Task, network: nn.Module) -> Task:
    """Return a copy of a task that has another network; the task itself is left as it is.

    Args:
        task: A task with one network, `model`.
        network: What takes its place; called as the task calls its own.
    """
    # What deepcopy finds in its memo it takes for copied already.
    return copy.deepcopy(task, {id(task.get_submodule("model")): network})


def check_single_network(task: Task) -> None:
    """Refuse a task whose exported network cannot stand in its place.

    Raises:
        ConfigError: Its metrics need more than what it exports.
    """
    if task.phases != ("model",) or "model" not in task.export():
        raise ConfigError(
            f"the task {type(task).__name__} cannot be compressed: what it exports does not answer what it is judged "
            "by. Fine-tune the network on labels first (ptft finetune init_from=...), and compress that run"
        )
