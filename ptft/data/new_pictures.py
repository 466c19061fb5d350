"""Pictures that a user gives to a trained model, prepared as the model's own were: any size, any format, upright."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ptft.data.data_module import Batch, DataModule, DataSpec
from ptft.data.image_batches import Normaliser
from ptft.data.image_files import ImageFiles
from ptft.data.image_frames import FrameStore, resized
from ptft.errors import DataError, RowError
from ptft.runtime.threads import cores, map_in_threads

_AT_ONCE = 4  # pictures that a thread takes at once


class PictureModule(DataModule):
    """A data set of pictures: its specification, and batches of pictures that it does not hold."""

    _spec: DataSpec | None = None

    @property
    def spec(self) -> DataSpec:
        """What the data know, once set up or restored."""
        assert self._spec is not None, "setup() or restore() comes first"
        return self._spec

    def restore(self, spec: DataSpec) -> None:
        """Take the preprocessing of a run; no picture is looked for.

        Raises:
            DataError: The run was not trained on pictures.
        """
        if spec.kind != "image":
            raise DataError(f"the run reads {spec.kind}, and {type(self).__name__} holds pictures; leave data= out")
        self._spec = spec

    @property
    def fields(self) -> tuple[str, ...]:
        """A row holds the path of a picture."""
        return ("file",)

    def batch_of(self, rows: Sequence[Mapping[str, Any]], device: torch.device) -> Batch:
        """Return pictures as `image` (B, C, H, W) and `index` (B,), decoded in threads.

        Args:
            rows: `file`, the path of a picture, each.
            device: Where the batch must lie.

        Raises:
            RowError: A picture cannot be read.
        """
        frames = frames_of([str(row["file"]) for row in rows], self.spec)
        image = Normaliser(self.spec, device)(frames.to(device))
        return {"image": image, "index": torch.arange(len(rows), device=device)}


def frames_of(paths: Sequence[str], spec: DataSpec) -> Tensor:
    """Return pictures in the shape that a model sees, not normalised: (B, C, H, W) uint8.

    Where the model's data were files of any size, the short side is resized and the centre cut out, as for evaluation.
    Where they came in one size, the whole picture is resized to it.

    Args:
        paths: The files.
        spec: Shape and preprocessing of what the model sees.

    Raises:
        RowError: One cannot be read; it says which.
    """
    channels, height, width = spec.shape
    background = str(spec.preprocessing.get("background", "white"))
    files = ImageFiles(Path(), paths, channels=channels, background=background)
    store = None
    if (side := spec.preprocessing.get("resize")) is not None:
        store = FrameStore(files, np.zeros(len(paths), np.int64), spec, torch.device("cpu"), size=height, resize=side)

    def frame(place: int) -> Tensor | DataError:
        try:
            if store is not None:
                return store.frames(torch.tensor([place]))[0]
            return resized(files.read(place, min(height, width)), height, width).permute(2, 0, 1)
        except DataError as error:
            return error

    found = list(map_in_threads(frame, range(len(paths)), cores(), at_once=_AT_ONCE))
    for place, one in enumerate(found):
        if isinstance(one, DataError):
            raise RowError(str(one), place)
    return torch.stack([one for one in found if isinstance(one, Tensor)])
