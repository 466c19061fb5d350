"""What predictions are decided by, a threshold say: chosen on validation once a run, kept with it, brought back."""

from collections.abc import Callable
from pathlib import Path

from ptft.command.source import damaged, read_json
from ptft.engine.engine import Engine
from ptft.engine.run_dir import RunDirectory
from ptft.errors import ConfigError
from ptft.task.task import Task

Tell = Callable[[str], None]


def choose_decision(engine: Engine, run: RunDirectory) -> None:
    """Let the task choose on validation, with the weights it has now, what it decides by, and write that into model/.

    Raises:
        ConfigError: There is no validation split to choose on.
    """
    task = engine.task
    if not task.decides:
        return
    if "val" not in engine.evaluation_loaders:
        raise ConfigError("what predictions are decided by is chosen on validation, but these data have no such split")
    task.decision = {}
    task.decision = task.fit_decision(engine.evaluate("val").source)
    run.write_json("model/decision.json", dict(task.decision))
    chosen = ", ".join(f"{name} {value:.4g}" for name, value in task.decision.items())
    engine.console.say(f"chosen on val: {chosen or 'nothing'}")


def restore_decision(task: Task, run: Path, warn: Tell) -> None:
    """Give a task what its run decided by; where the run has chosen nothing, the usual value holds and is told."""
    if not task.decides:
        return
    path = run / "model" / "decision.json"
    if path.is_file():
        try:
            task.decision = {str(name): float(value) for name, value in read_json(path).items()}
        except (TypeError, ValueError) as error:
            raise damaged(path, error) from None
    else:
        warn(
            f"{run} has no model/decision.json: what its predictions are decided by is chosen when its training ends, "
            "if it is asked to; until then they are decided as usual"
        )
