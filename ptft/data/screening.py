"""Which pictures can be read, found before training: by their headers; by decoding all where bad ones are skipped."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ptft.data.image_files import ImageFiles, decoders
from ptft.data.listing import quoted
from ptft.errors import DataError
from ptft.runtime import files as disk
from ptft.runtime.progress import progress
from ptft.runtime.text import one_line
from ptft.runtime.threads import map_in_threads

OnBadSample = Literal["error", "skip"]
_FORMAT = 1


def screen(
    pictures: ImageFiles, on_bad_sample: OnBadSample, max_bad: float, memory: Path, threads: int
) -> dict[int, str]:
    """Return the number of each picture that cannot be read, with the reason.

    Args:
        pictures: The files.
        on_bad_sample: error: look at the headers and raise at the first bad one; skip: decode every picture.
        max_bad: Largest share that may be skipped.
        memory: File that remembers the verdicts of decoding; made if it is not there.
        threads: How many pictures are looked at at once.

    Raises:
        DataError: A picture cannot be read and none may be skipped, or more than `max_bad` cannot.
    """
    if on_bad_sample == "error":
        if bad := _tried(pictures, "headers", threads):
            number, reason = next(iter(bad.items()))
            others = f" ({len(bad) - 1:,} more like it)" if len(bad) > 1 else ""
            raise DataError(
                f"cannot read the picture {quoted(str(pictures.path(number)))}: {reason}{others}. "
                "Mend or remove it, or leave bad pictures out: data.on_bad_sample=skip"
            )
        return {}
    known = _remembered(pictures, memory)
    bad = _tried(pictures, "pictures", threads) if known is None else known
    if known is None:
        _remember(pictures, memory, bad)
    if len(bad) > most_bad(max_bad, len(pictures)):
        shown = [f"{quoted(pictures.paths[number])}: {reason}" for number, reason in bad.items()]
        more = f" and {len(shown) - 3:,} more" if len(shown) > 3 else ""
        raise DataError(
            f"{len(bad):,} of {len(pictures):,} pictures cannot be read, {len(bad) / len(pictures):.1%} where "
            f"data.max_bad={max_bad:g} allows {max_bad:.1%}: {'; '.join(shown[:3])}{more}. "
            "Mend or remove them, or allow more with data.max_bad"
        )
    return bad


def most_bad(share: float, count: int) -> int:
    """Return how many of `count` pictures may be left out: 29 of 100 at 0.29, whose product is a little below 29."""
    return math.floor(share * count + 1e-9)


def reason_in(message: str, path: Path) -> str:
    """Return why a picture could not be read, without its place, which is told beside it and may change."""
    before, place, reason = message.partition(f"{one_line(str(path))}: ")
    return reason if place else before


def left_out_note(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what to know of the pictures left out, given by path and reason; nothing where there are none."""
    if not rows:
        return []
    shown = "; ".join(f"{quoted(row['path'])}: {row['reason']}" for row in rows[:3])
    more = f" and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    return [f"left out {len(rows):,} pictures that cannot be read: {shown}{more}"]


def _tried(pictures: ImageFiles, what: Literal["headers", "pictures"], threads: int) -> dict[int, str]:
    """Look at every header or decode every picture, several at once."""
    look = pictures.header if what == "headers" else pictures.read

    def reason(number: int) -> str | None:
        try:
            look(number)
        except DataError as error:
            return reason_in(str(error), pictures.path(number))
        return None

    bad = {}
    title = "reading headers" if what == "headers" else "decoding pictures"
    with progress(title, len(pictures), "pictures") as advance:
        for number, told in enumerate(map_in_threads(reason, range(len(pictures)), threads)):
            advance(1)
            if told is not None:
                bad[number] = told
    return bad


def memory_path(folder: Path, fingerprint: str, channels: int) -> Path:
    """Return where the verdicts on a set of files are remembered: other contents or other decoders, other verdicts."""
    key = hashlib.sha256(repr((_FORMAT, fingerprint, channels, decoders())).encode()).hexdigest()
    return folder / f"verdicts-{key[:32]}.json"


def _remembered(pictures: ImageFiles, memory: Path) -> dict[int, str] | None:
    """Return the verdicts remembered, or None if there are none that can be read."""
    try:
        values = json.loads(memory.read_bytes())
        numbers = {path: number for number, path in enumerate(pictures.paths)}
        return {numbers[path]: str(reason) for path, reason in values["bad"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remember(pictures: ImageFiles, memory: Path, bad: Mapping[int, str]) -> None:
    """Write the verdicts; where that cannot be done they are found again next time."""
    values = {"pictures": len(pictures), "bad": {pictures.paths[number]: reason for number, reason in bad.items()}}
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        disk.replace_with(memory, json.dumps(values, ensure_ascii=False, indent=1).encode())
    except OSError:
        return
