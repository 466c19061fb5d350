"""Curves, pictures and texts for TensorBoard, in the run's own folder."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ptft.types import PositiveFloat


class TensorBoard:
    """Writes TensorBoard event files; look at them with `tensorboard --logdir outputs`."""

    def __init__(self, directory: Path, start_step: int, *, flush_seconds: PositiveFloat = 10.0) -> None:
        """Open an event file in `directory`/tensorboard; a resumed run hides what it logged after `start_step`."""
        from torch.utils.tensorboard.writer import SummaryWriter

        # TensorBoard hides what it has from `purge_step` on; the points of `start_step` are not written again.
        purge_step = start_step + 1 if start_step else None
        self._writer = SummaryWriter(
            str(directory / "tensorboard"), purge_step=purge_step, flush_secs=int(max(1, flush_seconds))
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Add pictures."""
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, step)

    def texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Add texts, as they are: indented, so that TensorBoard's Markdown leaves them alone."""
        for name, text in texts.items():
            self._writer.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), step)

    def close(self) -> None:
        """Write what is still in memory and close the file."""
        self._writer.close()
