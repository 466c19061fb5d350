"""Files of rows that are written row by row: how many whole rows one holds, and where a torn end begins.

What is written stands beside its place under another name until it is whole, so that a reader never takes a part of it
for all of it.
"""

import json
from pathlib import Path

TOTAL = "rows"
"""The fact that tells how many rows a whole file will hold, if that is known."""
_BLOCK = 1 << 20  # bytes read at once


def part_of(path: Path) -> Path:
    """Return where a file of rows stands until it is whole."""
    return path.with_name(f"{path.name}.part")


def facts_of(path: Path) -> Path:
    """Return where it is kept, until a file is whole, what its rows are made from."""
    return path.with_name(f"{path.name}.part.json")


def whole_rows(path: Path, *, quoted: bool) -> tuple[int, int]:
    """Return how many whole rows a file holds, and how many bytes they are; what follows is a row that broke off.

    Args:
        path: The file; read in blocks, so that its size does not matter.
        quoted: A line break within double quotes ends no row, as in csv.

    Raises:
        OSError: It cannot be read.
    """
    count = end = place = 0
    inside = False
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            for number, piece in enumerate(block.split(b'"') if quoted else [block]):
                if number:
                    inside = not inside
                    place += 1
                if not inside and (breaks := piece.count(b"\n")):
                    count += breaks
                    end = place + piece.rindex(b"\n") + 1
                place += len(piece)
    return count, end


def rows_there(path: Path) -> str:
    """Return in words how many whole rows a json lines or csv file, or its part, holds, the header not counted."""
    table = path.name.removesuffix(".part").endswith(".csv")
    try:
        count, _ = whole_rows(path, quoted=table)
    except OSError:
        return "rows that cannot be read"
    count = max(count - table, 0)
    total = _total(path)
    return f"{count:,} rows" if total is None else f"{count:,} of {total:,} rows"


def _total(part: Path) -> int | None:
    """Return how many rows a part is to become, if that was known."""
    try:
        total = json.loads(part.with_name(f"{part.name}.json").read_bytes())[TOTAL]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return total if isinstance(total, int) else None
