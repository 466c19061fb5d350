"""A folder as users have them: two classes, and every kind of file that a picture can be or fail to be."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.files import classes, picture

BAD = {
    "cats/bomb.png": "pixels",
    "cats/empty.jpg": "empty",
    "dogs/text.jpg": "no picture",
    "dogs/truncated.jpg": "",
}
"""Files that cannot be read, with a word of the reason."""


def messy(root, count=20):
    """Write the folder and return it; the good pictures outnumber the bad ones."""
    root = classes(Path(root), count, suffix=".jpg")
    generator = np.random.default_rng(0)
    colour = generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(colour).convert("CMYK").save(root / "cats" / "cmyk.jpg")
    Image.fromarray(generator.integers(0, 65536, (20, 30), dtype=np.uint16)).save(root / "cats" / "deep.png")
    palette = Image.fromarray(colour).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(root / "cats" / "palette.png", transparency=bytes(range(256)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colour).save(root / "dogs" / "rotated.jpg", exif=exif)
    Image.fromarray(colour[:1, :1]).save(root / "dogs" / "pixel.png")
    frames = [Image.fromarray(generator.integers(0, 256, (9, 9), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(root / "dogs" / "moving.gif", save_all=True, append_images=frames[1:])
    picture(root / "dogs" / "日本 ü\n.png", 77)
    picture(root / "cats" / "-rf.png", 78)
    (root / "cats" / "empty.jpg").write_bytes(b"")
    (root / "dogs" / "text.jpg").write_text("this is no picture\n" * 50)
    whole = picture(root / "dogs" / "truncated.jpg", 79, size=(60, 60)).read_bytes()
    (root / "dogs" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "cats" / "bomb.png").write_bytes(png_header(50_000, 50_000))
    return root


def png_header(width, height):
    """Return the beginning of a PNG of that size, with no pixels behind it."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))
