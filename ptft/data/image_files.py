"""Pictures in files, read one by one: any format, upright, opaque, 8 bits, in the number of channels asked for.

JPEGs are decoded by torchvision's operator, which releases the interpreter lock and writes into a tensor at once:
0.7 ms for 500x375, where Pillow and the copy into a tensor take 0.95 ms. Pillow decodes whatever else there is, and
JPEGs that may be made smaller while decoding: a quarter of the side takes half the time. PNGs are Pillow's too: it is
15% slower at them than torchvision 0.29, whose operator brings the whole process down on some damaged files.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch
from torch import Tensor

from ptft.data.image_header import Header, check_png, pillow, read_header
from ptft.errors import DataError
from ptft.runtime.text import one_line

_GREY, _COLOUR = 1, 3  # torchvision.io.ImageReadMode
BACKGROUNDS = {"white": 255, "black": 0}
_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R BT.601, as JPEG and Pillow have them."""


class Pictures(Protocol):
    """A source of pictures by number: files, or a cache of them. Read-only and safe to use in several threads."""

    def __len__(self) -> int:
        """The number of pictures."""
        ...

    def size(self, number: int) -> tuple[int, int]:
        """Return height and width of a picture without decoding it.

        Raises:
            DataError: The picture cannot be read.
        """
        ...

    def read(self, number: int, least: int | None = None) -> Tensor:
        """Return a picture: (C, H, W) uint8, a view over (H, W, C) memory that must not be changed.

        Args:
            number: Which one, from 0.
            least: The picture may come smaller than `size` tells, in proportion, as long as its short side keeps so
                many pixels; None: it comes in full.

        Raises:
            DataError: The picture cannot be read; names it and says why.
        """
        ...


class ImageFiles:
    """Pictures in the files of a folder."""

    def __init__(self, root: Path, paths: Sequence[str], *, channels: int = 3, background: str = "white") -> None:
        """Keep the names; no file is opened.

        Args:
            root: Folder that the paths are relative to.
            paths: The files.
            channels: 3: red, green, blue; 1: grey.
            background: What shows under transparent pixels: white or black.
        """
        assert channels in (1, 3) and background in BACKGROUNDS
        self.root = root
        self.paths = paths
        self.channels = channels
        self.background = background
        self._sizes = np.zeros((len(paths), 2), dtype=np.int32)  # (0, 0): not looked at yet

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, number: int) -> Path:
        """Return where a picture lies."""
        return self.root / self.paths[number]

    def header(self, number: int) -> Header:
        """Return the header of a picture, read from its file now.

        Raises:
            DataError: The file cannot be opened, is empty, no picture, or too large; names it and says why.
        """
        try:
            with self.path(number).open("rb") as file:
                header = read_header(file)
        except (OSError, DataError) as error:
            raise self._refusal(number, error) from error
        self._sizes[number] = header.upright
        return header

    def size(self, number: int) -> tuple[int, int]:
        """Return height and width of an upright picture; its header is read once.

        Raises:
            DataError: The header cannot be read; names the file and says why.
        """
        height, width = self._sizes[number].tolist()
        return (height, width) if height and width else self.header(number).upright

    def read(self, number: int, least: int | None = None) -> Tensor:
        """Return a picture: (C, H, W) uint8, a view over (H, W, C) memory.

        Args:
            number: Which one, from 0.
            least: A JPEG may be made smaller while it is decoded as long as its short side keeps so many pixels.

        Raises:
            DataError: The file is missing, damaged, truncated or too large; names it and says why.
        """
        try:
            with self.path(number).open("rb") as file:
                header = read_header(file)
                image = decode(file, header, self.channels, BACKGROUNDS[self.background], least)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever a damaged file leads them to
            raise self._refusal(number, error) from error
        self._sizes[number] = header.upright
        return image

    def _refusal(self, number: int, error: Exception) -> DataError:
        shown = one_line(str(self.path(number)))
        if isinstance(error, OSError) and error.strerror:
            return DataError(f"cannot read {shown}: {error.strerror}")
        # torchvision's messages begin with the place in its own source.
        found = re.search(r"\.cpp:\d+, (.*)", str(error))
        reason = found[1] if found else str(error) or type(error).__name__
        return DataError(f"cannot read the picture {shown}: {one_line(reason)}")


def decoders() -> tuple[str, ...]:
    """Return the libraries that decode pictures, with their versions: others may give other pixels, or refuse more."""
    return tuple(f"{name} {importlib.metadata.version(name)}" for name in ("torchvision", "pillow"))


def decode(file: BinaryIO, header: Header, channels: int, background: int, least: int | None) -> Tensor:
    """Return an open picture as (channels, H, W) uint8 over (H, W, channels) memory, upright and opaque.

    Args:
        file: The picture, whose header is `header`.
        header: Its header.
        channels: 3 or 1.
        background: Grey level that shows under transparent pixels, in [0, 255].
        least: A JPEG may be made smaller as long as its short side keeps so many pixels; None: it comes in full.

    Raises:
        Exception: Whatever the decoder raises for a damaged file.
    """
    file.seek(0)
    jpeg = header.kind == "JPEG"
    smaller = jpeg and least is not None and min(header.height, header.width) >= 2 * least
    operators = _operators() if jpeg and header.channels != 4 and not smaller else None
    if operators is not None:
        content = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
        image: Tensor = operators.decode_jpeg(content, _GREY if channels == 1 else _COLOUR, True)
    else:
        if header.kind == "PNG":
            check_png(file)
            file.seek(0)
        image = _turn(_with_pillow(file, channels, background, least if smaller else None), header.orientation)
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # (C, H, W) over (H, W, C)


@lru_cache(maxsize=1)
def _operators() -> Any:
    """Return torchvision's image operators, or None where torchvision has none.

    Their library is loaded by itself where it is found: importing the package torchvision takes 4 s for models and
    transforms that nothing here needs.
    """
    found = importlib.util.find_spec("torchvision")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for path in sorted(Path(folder).glob("image*.so")):
            try:
                torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
            except OSError:
                continue
            if hasattr(torch.ops.image, "decode_jpeg"):
                return torch.ops.image
    return None


def _with_pillow(file: BinaryIO, channels: int, background: int, least: int | None) -> Tensor:
    """Return a picture as stored, not turned: (C, H, W) uint8."""
    with pillow().open(file) as image:
        if least is not None:
            image.draft(None, (least, least))
        image.load()
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
            return _opaque(_tensor(np.array(image.convert("RGBA"))), channels, background)
        if image.mode == "I" or image.mode.startswith("I;16"):
            values = np.array(image)
            if values.min() < 0 or values.max() > 65535:
                raise DataError("it has values of 32 bits; only 8 and 16 can be read")
            grey = _eight_bits(_tensor(values.astype(np.int32)))
            return grey if channels == 1 else grey.expand(3, -1, -1)
        if image.mode == "F":
            raise DataError("it has values of floating point; only whole numbers of 8 and 16 bits can be read")
        return _tensor(np.array(image.convert("L" if channels == 1 else "RGB")))


def _tensor(array: Any) -> Tensor:
    """Return (H, W) or (H, W, C) as (C, H, W)."""
    tensor = torch.from_numpy(array)
    return tensor[None] if tensor.dim() == 2 else tensor.permute(2, 0, 1)


def _eight_bits(image: Tensor) -> Tensor:
    """Return uint8 for values of 16 bits, to the nearest: 65535 becomes 255."""
    return ((image.to(torch.int32) + 128) // 257).to(torch.uint8)


def _opaque(image: Tensor, channels: int, background: int) -> Tensor:
    """Return (4, H, W) red, green, blue and alpha, laid over a background, as (channels, H, W) uint8."""
    colour, alpha = image[:3], image[3:].to(torch.int32)
    if int(alpha.min()) < 255:
        laid = colour.to(torch.int32) * alpha + background * (255 - alpha)
        colour = ((laid + 127) // 255).to(torch.uint8)
    if channels == 3:
        return colour
    weights = torch.tensor(_LUMA).view(3, 1, 1)
    return (colour * weights).sum(0, keepdim=True).round_().to(torch.uint8)


def _turn(image: Tensor, orientation: int) -> Tensor:
    """Return a stored picture, (C, H, W), upright; what the eight orientations mean: Exif 2.32, 4.6.4, tag 0x0112."""
    if orientation >= 5:
        image = image.transpose(1, 2)
    rows = [1] if orientation in (3, 4, 7, 8) else []
    columns = [2] if orientation in (2, 3, 6, 7) else []
    return image.flip(rows + columns) if rows or columns else image
