"""Decoded pictures on the disk: one flat file of bytes, mapped into memory, shared by all threads and runs.

The file: 64 bytes of header (magic, number of pictures, bytes of pixels, checksum of the sizes, digest of the key), the
sizes as (N, 2) int32 height and width, then the pixels of one picture after the other, (H, W, C) uint8 each.
"""

import hashlib
import os
import struct
import uuid
import warnings
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ptft.data.cached_folder import alone
from ptft.data.image_files import ImageFiles, decoders
from ptft.data.image_frames import resized
from ptft.errors import DataError
from ptft.runtime import files as disk
from ptft.runtime.progress import progress
from ptft.runtime.threads import map_in_threads

_HEADER = struct.Struct("<8sQQQ32s")
_MAGIC = b"ptftimg1"
_SPARE_BYTES = 64 << 20
"""What is left free on the disk."""


class ImageCache:
    """Pictures decoded before, with a short side of at most so many pixels; read-only and safe in several threads."""

    def __init__(self, path: Path, digest: bytes, channels: int) -> None:
        """Map a file.

        Args:
            path: The file.
            digest: SHA-256 that it must have been made with.
            channels: Values of a pixel.

        Raises:
            ValueError: It is no such file, or not whole; says why.
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            start = file.read(_HEADER.size)
            if len(start) < _HEADER.size:
                raise ValueError("it ends within its header")
            magic, count, pixels, checksum, made_with = _HEADER.unpack(start)
            if magic != _MAGIC or made_with != digest:
                raise ValueError("its header is damaged")
            begin = _HEADER.size + 8 * count
            found = path.stat().st_size
            if found != begin + pixels:
                raise ValueError(f"it has {found:,} bytes where {begin + pixels:,} were written")
            sizes = file.read(8 * count)
        if zlib.crc32(sizes) != checksum:
            raise ValueError("its table of sizes is damaged")
        self.path = path
        self._sizes = np.frombuffer(sizes, dtype="<i4").reshape(count, 2)
        self._offsets = _offsets(self._sizes, channels)
        self._channels = channels
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that the memory must not be written to
            self._pixels = torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="r", offset=begin, shape=(pixels,)))

    def __len__(self) -> int:
        return len(self._sizes)

    def size(self, number: int) -> tuple[int, int]:
        """Return height and width of a cached picture."""
        height, width = self._sizes[number].tolist()
        return height, width

    def read(self, number: int, least: int | None = None) -> Tensor:
        """Return a cached picture: (C, H, W) uint8, a view over (H, W, C) memory that must not be written to."""
        begin, end = self._offsets[number : number + 2].tolist()
        height, width = self._sizes[number].tolist()
        return self._pixels[begin:end].view(height, width, self._channels).permute(2, 0, 1)


def build_cache(files: ImageFiles, side: int, folder: Path, key: str, threads: int = 2) -> tuple[ImageCache, str]:
    """Return the cache of some pictures, made if it is not there, and a warning if it was there but damaged.

    It is made under another name and renamed when whole; another process that wants the same waits and shares it.

    Args:
        files: The pictures.
        side: Largest short side of a cached picture; smaller pictures are kept as they are, larger ones resized.
        folder: Where caches lie; made if it is not there.
        key: What the contents of the files are told by: their fingerprint.
        threads: How many pictures are decoded at once.

    Raises:
        DataError: A picture cannot be read, the folder cannot be written to, or the disk has no room.
    """
    names = "\0".join(files.paths)
    listed = hashlib.sha256(names.encode()).hexdigest()
    identity = repr((_MAGIC, key, side, files.channels, files.background, decoders(), listed))
    digest = hashlib.sha256(identity.encode()).digest()
    path = folder / f"pictures-{side}-{digest.hex()[:32]}.bin"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cache, warning = _opened(path, digest, files.channels)
        if cache is None:
            with alone(path):
                # Another process may have made it while this one waited.
                cache, _ = _opened(path, digest, files.channels)
                if cache is None:
                    _build(files, side, path, digest, threads)
                    cache = ImageCache(path, digest, files.channels)
        return cache, warning
    except OSError as error:
        raise DataError(
            f"cannot write the cache of pictures {path}: {error.strerror or error}; give another data.cache_folder, or "
            "do without: data.cache=null"
        ) from error


def _opened(path: Path, digest: bytes, channels: int) -> tuple[ImageCache | None, str]:
    """Return the cache that lies at a path, if one does and is whole, and a warning about one that is not."""
    if not path.exists():
        return None, ""
    try:
        return ImageCache(path, digest, channels), ""
    except ValueError as error:
        return None, f"the cache {path} was damaged, as {error}; it was built anew"


def _build(files: ImageFiles, side: int, path: Path, digest: bytes, threads: int) -> None:
    for left in path.parent.glob(f".tmp-{path.name}-*"):  # of a process that was killed
        disk.remove(left)
    sizes = np.array(list(map_in_threads(files.size, range(len(files)), threads)), dtype="<i4").reshape(-1, 2)
    sizes = np.array([_smaller(height, width, side) for height, width in sizes.tolist()], dtype="<i4").reshape(-1, 2)
    offsets = _offsets(sizes, files.channels)
    content, pixels = sizes.tobytes(), int(offsets[-1])
    header = _HEADER.pack(_MAGIC, len(sizes), pixels, zlib.crc32(content), digest)
    begin = len(header) + len(content)
    free = disk.free_bytes(path.parent)
    if begin + pixels + _SPARE_BYTES > free:
        raise DataError(
            f"the cache of {len(files):,} pictures takes {(begin + pixels) / 1e9:.2f} GB, and {path.parent} has "
            f"{free / 1e9:.2f} GB free; free some, or give another data.cache_folder, a smaller data.cache or none"
        )
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("xb", buffering=0) as file, progress("caching pictures", len(files), "pictures") as advance:
            descriptor = file.fileno()

            def put(number: int) -> None:
                height, width = sizes[number].tolist()
                picture = resized(files.read(number, side), height, width)
                _write(descriptor, picture.contiguous().numpy(), begin + int(offsets[number]))
                advance(1)

            _write(descriptor, np.frombuffer(header + content, dtype=np.uint8), 0)
            for _ in map_in_threads(put, range(len(files)), threads, at_once=8):
                pass
            os.fsync(descriptor)
        disk.rename(temporary, path)
        disk.sync_directory(path.parent)
    finally:
        disk.remove(temporary)


def _write(descriptor: int, values: npt.NDArray[np.uint8], place: int) -> None:
    """Write bytes at a place of an open file; several threads may do so at once."""
    left = memoryview(values.data).cast("B")
    while left:
        written = os.pwrite(descriptor, left, place)
        left, place = left[written:], place + written


def _smaller(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the size of a picture whose short side is at most `side`, its aspect kept."""
    short = min(height, width)
    if short <= side:
        return height, width
    return (side, side * width // height) if height == short else (side * height // width, side)


def _offsets(sizes: npt.NDArray[np.int32], channels: int) -> npt.NDArray[np.int64]:
    """Return where the pixels of each picture begin, and where the last ones end: (N + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes.astype(np.int64).prod(1) * channels)]).astype(np.int64)
