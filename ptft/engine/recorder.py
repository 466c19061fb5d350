"""Where a run's metrics, pictures and texts go: metrics.jsonl and report/ always, and the loggers asked for."""

from collections.abc import Mapping, Sequence

from ptft.engine.run_dir import RunDirectory
from ptft.logger.logger import Logger
from ptft.task.task import Media


class Recorder:
    """Writes rows of metrics, pictures and texts."""

    def __init__(self, run: RunDirectory, loggers: Sequence[Logger] = ()) -> None:
        self.run = run
        self.loggers = loggers
        self.report = run.path / "report"

    def row(self, position: Mapping[str, float], values: Mapping[str, float]) -> None:
        """Write the metrics of a step; `position` holds `step`, and in training epoch, time and cpu."""
        self.run.append_metrics({**position, **values})
        for logger in self.loggers:
            logger.scalars(int(position["step"]), values)

    def media(self, step: int, media: Media) -> None:
        """Write pictures as PNG and texts as they are, and hand both to the loggers."""
        images = {name: value for name, value in media.items() if not isinstance(value, str)}
        texts = {name: value for name, value in media.items() if isinstance(value, str)}
        for name, text in texts.items():
            self.run.write_text(f"report/{name}_{step:08d}.txt", text + "\n")
        if images:
            from torchvision.utils import save_image

            self.report.mkdir(exist_ok=True)
            for name, picture in images.items():
                save_image(picture, self.report / f"{name}_{step:08d}.png")
        for logger in self.loggers:
            logger.pictures(step, images)
            logger.texts(step, texts)

    def close(self) -> None:
        """Close the loggers."""
        for logger in self.loggers:
            logger.close()
