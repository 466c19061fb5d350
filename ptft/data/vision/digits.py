"""The digits bundled with scikit-learn: 1,797 handwritten digits, 8x8 grey, 10 classes.

They are the test part of the UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998, CC BY 4.0).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ptft.data.image_arrays import ImageArrays
from ptft.data.image_batches import Augmentation
from ptft.data.in_memory import InMemoryImages
from ptft.types import NonNegativeInt, UnitFloat


class Digits(InMemoryImages):
    """The 1,797 digits of scikit-learn, 8x8 grey; nothing is read from a folder and nothing is fetched."""

    title = "digits"

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        *,
        path: str | None = None,
        download: bool = False,
        label_fraction: UnitFloat = 1.0,
        num_workers: NonNegativeInt | Literal["auto"] = "auto",
        allow_changed: bool = False,
        split: dict[str, Any] | None = None,
    ) -> None:
        """Keep the settings, whose meaning is told at `InMemoryImages`; `path` and `download` are not needed."""
        super().__init__(
            augmentations,
            path=path,
            download=download,
            label_fraction=label_fraction,
            num_workers=num_workers,
            allow_changed=allow_changed,
            split=split,
        )

    def read(self) -> ImageArrays:
        """Return the digits, their values 0..16 spread over 0..255 so that each stays a value of its own."""
        from sklearn.datasets import load_digits

        data = load_digits()
        images = np.rint(data.images * (255 / 16)).astype(np.uint8)[:, None]
        return ImageArrays(images, data.target.astype(np.int64), tuple(str(digit) for digit in range(10)))
