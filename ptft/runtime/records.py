"""Files of rows that are written row by row: how many whole rows one holds, and where a torn end begins.

What is written stands beside its place under another name until it is whole, so that a reader never takes a part of it
for all of it.
"""

from pathlib import Path

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


def rows_there(path: Path) -> int:
    """Return how many whole rows a json lines or csv file holds, the header not counted; 0: it cannot be read."""
    table = path.name.removesuffix(".part").endswith(".csv")
    try:
        count, _ = whole_rows(path, quoted=table)
    except OSError:
        return 0
    return max(count - table, 0)
