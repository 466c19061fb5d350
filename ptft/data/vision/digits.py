"""The digits bundled with scikit-learn: 1,797 handwritten digits, 8x8 grey, 10 classes.

They are the test part of the UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998, CC BY 4.0).
"""

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptft.data.image_arrays import ImageArrays
from ptft.data.in_memory import InMemoryImages
from ptft.errors import ConfigError


class Digits(InMemoryImages):
    """The 1,797 digits of scikit-learn; settings as told at `InMemoryImages`, but there is nothing to download."""

    title = "digits"

    def read(self) -> ImageArrays:
        """Return the digits, their values 0..16 spread over 0..255 so that each stays a value of its own.

        Raises:
            ConfigError: A path is given: these data lie in scikit-learn, and nothing of the path would be read.
        """
        if self.path is not None:
            raise ConfigError(
                f"data.path={self.path}: the digits come with scikit-learn and are read from nowhere else; leave it "
                "out, or choose other data with data=... (`ptft list data` names them)"
            )
        table = _read_table()
        images = np.rint(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        return ImageArrays(images, table[:, 64].astype(np.int64), tuple(str(digit) for digit in range(10)))


def _read_table() -> npt.NDArray[np.float64]:
    """Return (1797, 65): the values 0..16 of 8x8 pixels, row by row, and the digit."""
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.exists():  # 6 ms; importing sklearn.datasets takes 2 s of CPU
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    data, target = load_digits(return_X_y=True)
    return np.column_stack([data, target]).astype(np.float64)
