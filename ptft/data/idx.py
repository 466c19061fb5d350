"""Reader of idx files, the format of MNIST and its successors (http://yann.lecun.com/exdb/mnist), plain or gzipped.

Two zero bytes, a byte for the type, a byte for the number of dimensions, a big-endian uint32 for each dimension, then
the values, big-endian. Reads no more than the header promises and believes no header that the file cannot hold.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from ptft.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEFLATE_LIMIT = 1032  # no byte of a gzip file stands for more bytes than that (https://zlib.net/zlib_tech.html)


def read_idx(path: Path) -> npt.NDArray[Any]:
    """Return the array an idx file holds, in the machine's own byte order.

    Raises:
        DataError: The file cannot be read, is no idx file, or is shorter or longer than its header says.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        most = path.stat().st_size * (_DEFLATE_LIMIT if zipped else 1)
        with gzip.open(path) if zipped else path.open("rb") as file:
            return _read(cast(BinaryIO, file), path, most)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error or type(error).__name__}; is the file whole?") from error


def _read(file: BinaryIO, path: Path, most: int) -> npt.NDArray[Any]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise DataError(
            f"{path} is no idx file: it starts with {magic.hex(' ') or 'nothing'}, not 00 00 and a known type"
        )
    dtype, dimensions = np.dtype(_TYPES[magic[2]]), magic[3]
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path} is truncated within its header")
    shape = struct.unpack(f">{dimensions}I", sizes)
    expected = math.prod(shape) * dtype.itemsize
    if expected > most:
        raise DataError(f"{path} is truncated: its header promises {expected:,} bytes, more than the file can hold")
    content = file.read(expected + 1)
    if len(content) != expected:
        found = f"only {len(content):,}" if len(content) < expected else "more"
        raise DataError(f"{path} is damaged: expected {expected:,} bytes for shape {shape}, found {found}")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
