"""What the first bytes of a picture tell: format, size, orientation; nothing is decoded.

JPEG and PNG, which most pictures are, are read by hand: that takes 8 us where Pillow takes 50 us. Pillow reads the
headers of all others. Sources: ITU-T T.81 B.1.1 and B.2.2 (JPEG), the PNG specification 11.2 and 11.3, Exif 2.32.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from types import ModuleType
from typing import BinaryIO

from ptft.errors import DataError

MAX_PIXELS = 100_000_000
"""Pictures with more pixels are refused: decoded, one takes 300 MB."""
_PNG = b"\x89PNG\r\n\x1a\n"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame of a JPEG: SOF0 to SOF15 without DHT, JPG and DAC."""
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers of a JPEG that no length follows: TEM, RST0 to RST7."""
_ORIENTATION = 0x0112
_EXIF_BYTES = 1 << 16
"""What is read of an Exif block; in a JPEG none is larger."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a picture before it is decoded.

    Attributes:
        kind: The format, by Pillow's name: JPEG, PNG, GIF, WEBP, BMP, TIFF ...
        height: Rows as stored, at least 1.
        width: Columns as stored, at least 1.
        channels: Values of a pixel, an alpha channel included; 4 of a JPEG are CMYK. 0: not looked at.
        orientation: How to turn the picture, 1 to 8 as Exif counts; 1: not at all.
    """

    kind: str
    height: int
    width: int
    channels: int = 0
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the picture once turned upright."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def read_header(file: BinaryIO) -> Header:
    """Return the header of an open picture; the place in the file is anywhere afterwards.

    Raises:
        DataError: It is empty, no picture, damaged, or has more than MAX_PIXELS pixels; the message is the reason
            alone, as the caller knows the file.
    """
    start = file.read(26)
    if not start:
        raise DataError("it is empty (0 bytes)")
    try:
        if start[:2] == b"\xff\xd8":
            header = _jpeg(file)
        elif start[:8] == _PNG:
            header = _png(file, start)
        else:
            header = _other(file, start)
    except (struct.error, IndexError):
        raise DataError("it ends within its header; is the file whole?") from None
    if header.height < 1 or header.width < 1:
        raise DataError(f"its header tells a size of {header.width} x {header.height} pixels")
    if header.height * header.width > MAX_PIXELS:
        raise DataError(
            f"its header tells {header.width:,} x {header.height:,} pixels, more than the {MAX_PIXELS:,} that are "
            "decoded; make it smaller"
        )
    return header


def pillow() -> ModuleType:
    """Return PIL.Image, imported when first needed and without its own warning of large pictures: ours is stricter."""
    from PIL import Image

    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    return Image


# ---- JPEG ---------------------------------------------------------------------------------------------------------


def _jpeg(file: BinaryIO) -> Header:
    file.seek(2)
    orientation = 1
    while True:
        marker = file.read(2)
        if len(marker) < 2:
            raise DataError("it ends before its picture begins; is the file whole?")
        if marker[0] != 0xFF:
            raise DataError("it is a damaged JPEG: no marker where one must be")
        code = marker[1]
        if code == 0xFF:  # a byte that fills: the marker is still to come
            file.seek(-1, io.SEEK_CUR)
            continue
        if code in _NO_LENGTH:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if code in _FRAMES:
            precision, height, width, channels = struct.unpack(">BHHB", file.read(6))
            if precision != 8:
                raise DataError(f"it is a JPEG of {precision} bits a value; only 8 can be read")
            return Header("JPEG", height, width, channels, orientation)
        if code in (0xD9, 0xDA):
            raise DataError("it is a damaged JPEG: it tells no size before its pixels")
        if code == 0xE1 and orientation == 1:
            content = file.read(length - 2)
            if content[:6] == b"Exif\0\0":
                orientation = _orientation(content[6:])
        else:
            file.seek(length - 2, io.SEEK_CUR)


def _orientation(content: bytes) -> int:
    """Return the orientation that an Exif block tells; 1 where it tells none or is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(order + "I", content, 4)
        (entries,) = struct.unpack_from(order + "H", content, first)
        for place in range(first + 2, first + 2 + 12 * entries, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", content, place)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


# ---- PNG ----------------------------------------------------------------------------------------------------------


def _png(file: BinaryIO, start: bytes) -> Header:
    width, height = struct.unpack_from(">II", start, 16)
    if start[12:16] != b"IHDR":
        raise DataError("it is a damaged PNG: it does not begin with its header")
    file.seek(33)  # after the signature (8 bytes) and the chunk IHDR (25)
    while height * width <= MAX_PIXELS:
        length, name = struct.unpack(">I4s", file.read(8))
        if name in (b"IDAT", b"IEND"):
            break
        if name == b"eXIf":
            return Header("PNG", height, width, 0, _orientation(file.read(min(length, _EXIF_BYTES))))
        file.seek(length + 4, io.SEEK_CUR)
    return Header("PNG", height, width)


def check_png(file: BinaryIO) -> None:
    """Check the checksums of the pixels of an open PNG, which Pillow does not look at.

    Raises:
        DataError: One is wrong, or the file ends before its pixels do.
    """
    file.seek(8)
    while True:
        start = file.read(8)
        if len(start) < 8:
            raise DataError("it is truncated: it ends before its pixels do")
        length, name = struct.unpack(">I4s", start)
        if name == b"IEND":
            return
        if name != b"IDAT":
            file.seek(length + 4, io.SEEK_CUR)
            continue
        content = file.read(length + 4)
        if len(content) < length + 4:
            raise DataError("it is truncated: it ends within its pixels")
        if zlib.crc32(content[:-4], zlib.crc32(name)) != int.from_bytes(content[-4:]):
            raise DataError("it is a damaged PNG: the checksum of its pixels is wrong")


# ---- All others ---------------------------------------------------------------------------------------------------


def _other(file: BinaryIO, start: bytes) -> Header:
    image = pillow()
    file.seek(0)
    try:
        with image.open(file) as opened:
            width, height = opened.size
            kind = str(opened.format)
            # Pillow turns a TIFF itself, and tells its size as turned.
            orientation = 1 if kind == "TIFF" else opened.getexif().get(_ORIENTATION, 1)
    except image.DecompressionBombError:
        raise DataError(f"it has more than the {MAX_PIXELS:,} pixels that are decoded; make it smaller") from None
    except image.UnidentifiedImageError:
        raise DataError(
            f"it is no picture, or of a format that cannot be read (it begins with {start[:8]!r})"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise DataError(f"it is damaged or cannot be read: {error or type(error).__name__}") from error
    turned = isinstance(orientation, int) and 1 <= orientation <= 8
    return Header(kind, height, width, 0, orientation if turned else 1)
