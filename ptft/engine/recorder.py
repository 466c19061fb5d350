"""Where metrics and pictures of a run go: metrics.jsonl and report/ always, and whatever loggers were asked for."""

from collections.abc import Mapping, Sequence

from ptft.engine.run_dir import RunDirectory
from ptft.logger.logger import Logger
from ptft.task.task import Media


class Recorder:
    """Writes rows of metrics and pictures."""

    def __init__(self, run: RunDirectory, loggers: Sequence[Logger] = ()) -> None:
        self.run = run
        self.loggers = loggers
        self.report = run.path / "report"

    def row(self, position: Mapping[str, float], values: Mapping[str, float]) -> None:
        """Write the metrics of a step; `position` holds `step`, and in training epoch, time and cpu."""
        self.run.append_metrics({**position, **values})
        for logger in self.loggers:
            logger.scalars(int(position["step"]), values)

    def pictures(self, step: int, media: Media) -> None:
        """Write pictures as PNG and hand them to the loggers."""
        if not media:
            return
        from torchvision.utils import save_image

        self.report.mkdir(exist_ok=True)
        for name, picture in media.items():
            save_image(picture, self.report / f"{name}_{step:08d}.png")
        for logger in self.loggers:
            logger.pictures(step, media)

    def close(self) -> None:
        """Close the loggers."""
        for logger in self.loggers:
            logger.close()
