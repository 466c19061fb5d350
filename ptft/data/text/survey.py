"""The first reading of a corpus: what cannot be read, exact copies, and which split each document belongs to.

Whole documents are divided, by a keyed permutation of their numbers; copies of a document read before are removed. What
is found lies on the disk, one byte a document, so that memory does not grow with the corpus.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ptft.data.split import Split
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.documents import Documents, Piece
from ptft.errors import ConfigError, DataError
from ptft.runtime.progress import progress
from ptft.runtime.random import permute, seed_for

SPLITS = ("train", "val", "test")
REMOVED = 255
"""Stands for a document that is a copy of one before it."""
_ROWS = 1 << 20
"""Documents worked on at once."""
_DOCUMENTS = 4
"""Keeps the permutation of the documents apart from other draws with the same seed."""
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Survey:
    """What is known of a corpus once it was read.

    Attributes:
        codes: (N,) uint8, the number of each document's split in `SPLITS`, or `REMOVED`.
        counts: Documents of each split.
        num_copies: Documents removed.
        num_bytes: UTF-8 bytes of the documents left.
        cuts: Where a corpus of one document is cut: characters at which val and test begin; empty: it is not.
        bad: What was left out: file, line and reason.
    """

    codes: Codes
    counts: tuple[int, ...]
    num_copies: int
    num_bytes: int
    cuts: tuple[int, ...]
    bad: tuple[Mapping[str, Any], ...]

    def pieces(self, documents: Documents) -> Iterator[tuple[int, Piece]]:
        """Yield the pieces of the documents left, each with the number of its split."""
        left_out = frozenset(row["file"] for row in self.bad)
        if self.cuts:
            yield from _cut(documents.pieces(left_out), self.cuts)
            return
        number, code = -1, REMOVED
        for piece in documents.pieces(left_out):
            if piece.begins:
                number += 1
                code = int(self.codes[number])
            if code != REMOVED:
                yield code, piece


def take_survey(documents: Documents, split: Split, folder: Path, bad: BadRows, *, deduplicate: bool) -> None:
    """Read a corpus and write into a folder what `open_survey` returns.

    Raises:
        DataError: A file cannot be read and none may be left out, there is no text, or a split would be empty.
    """
    documents.check(bad)
    left_out = frozenset(row["file"] for row in bad.rows)
    lengths = _digest_all(documents, left_out, folder)
    digests = np.memmap(folder / "digests", dtype="<u8", mode="r") if lengths["documents"] else np.zeros(0, "<u8")
    if not len(digests):
        raise DataError("the corpus holds no text; give files with text in them")
    codes = np.memmap(folder / "codes", dtype=np.uint8, mode="w+", shape=(len(digests),))
    if deduplicate:
        _mark_copies(digests, codes)
    cuts = _divide(codes, np.memmap(folder / "files", dtype="<u4", mode="r"), split, lengths["characters"])
    codes.flush()
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(codes), _ROWS):
        counts += np.bincount(codes[start : start + _ROWS], minlength=256)
    facts = {
        "documents": len(codes),
        "counts": [1, 1, 1] if cuts else counts[: len(SPLITS)].tolist(),
        "num_copies": int(counts[REMOVED]),
        "num_bytes": lengths["bytes"],
        "cuts": cuts,
        "bad": bad.rows,
    }
    for name in ("digests", "files"):
        (folder / name).unlink()
    (folder / "survey.json").write_text(json.dumps(facts), encoding="utf-8")


def open_survey(folder: Path) -> Survey:
    """Return what `take_survey` wrote.

    Raises:
        ValueError: It is damaged; says how.
    """
    facts: dict[str, Any] = json.loads((folder / "survey.json").read_bytes())
    codes = np.memmap(folder / "codes", dtype=np.uint8, mode="r")
    if len(codes) != facts["documents"]:
        raise ValueError(f"it has {len(codes):,} documents where {facts['documents']:,} were written")
    return Survey(
        codes,
        tuple(facts["counts"]),
        facts["num_copies"],
        facts["num_bytes"],
        tuple(facts["cuts"]),
        tuple(facts["bad"]),
    )


def _digest_all(documents: Documents, left_out: frozenset[str], folder: Path) -> dict[str, int]:
    """Write a digest and the number of the file of each document; return sums over all."""
    sums = {"documents": 0, "bytes": 0, "characters": 0}
    with (
        (folder / "digests").open("wb") as digests,
        (folder / "files").open("wb") as files,
        progress("reading documents", documents.num_bytes, "bytes") as advance,
    ):
        digest = None
        for piece in documents.pieces(left_out):
            if piece.begins:
                if digest is not None:
                    digests.write(digest.digest())
                digest = blake2b(digest_size=8)
                files.write(piece.file.to_bytes(4, "little"))
                sums["documents"] += 1
            assert digest is not None, "the first piece begins a document"
            data = piece.text.encode("utf-8", "surrogatepass")
            digest.update(data)
            sums["bytes"] += len(data)
            sums["characters"] += len(piece.text)
            advance(len(data))
        if digest is not None:
            digests.write(digest.digest())
    return sums


def _mark_copies(digests: npt.NDArray[np.uint64], codes: Codes) -> None:
    """Mark the documents whose digest stood there before; a share of all digests is sorted at a time."""
    parts = -(-len(digests) // _ROWS)
    for part in range(parts):
        places = [
            start + np.flatnonzero(digests[start : start + _ROWS] % parts == part)
            for start in range(0, len(digests), _ROWS)
        ]
        rows = np.concatenate(places)
        order = rows[np.argsort(digests[rows], kind="stable")]
        codes[order[1:][digests[order[1:]] == digests[order[:-1]]]] = REMOVED


def _divide(codes: Codes, files: npt.NDArray[np.uint32], split: Split, characters: int) -> list[int]:
    """Write the split of each document that is not removed; return where a single document is cut."""
    if split.group not in (None, "file"):
        raise ConfigError(
            f"data.split.group={split.group}: of a corpus only files can be kept whole, data.split.group=file"
        )
    left = sum(int((codes[start : start + _ROWS] != REMOVED).sum()) for start in range(0, len(codes), _ROWS))
    if left == 1:
        return [math.floor(characters * (1 - split.val - split.test)), math.floor(characters * (1 - split.test))]
    whole_files = split.group == "file"
    units = int(files.max()) + 1 if whole_files else left
    in_order = whole_files and len(np.unique(files[[0, -1]])) == 1  # one file: cut between its documents
    if in_order:
        units = left
    num_val, num_test = (max(1, round(share * units)) for share in (split.val, split.test))
    if num_val + num_test >= units:
        raise DataError(
            f"data.split takes {num_val} documents for val and {num_test} for test of {units}, and leaves none to "
            "train on; give more files, or make more documents of them: data.documents=paragraph or line"
        )
    seed, done = seed_for(split.seed, _DOCUMENTS), 0
    for start in range(0, len(codes), _ROWS):
        part = codes[start : start + _ROWS]
        kept = np.flatnonzero(part != REMOVED)
        if whole_files and not in_order:
            places = torch.from_numpy(files[start : start + _ROWS][kept].astype(np.int64))
        else:
            places = torch.arange(done, done + len(kept))
        drawn = (units - 1 - places if in_order else permute(places, units, seed, 0)).numpy()
        part[kept] = np.where(drawn < num_test, 2, np.where(drawn < num_test + num_val, 1, 0))
        done += len(kept)
    return []


def _cut(pieces: Iterator[Piece], cuts: tuple[int, ...]) -> Iterator[tuple[int, Piece]]:
    """Yield the parts of a single document: each cut comes after the line in which it would fall."""
    code, done, begins = 0, 0, True
    for piece in pieces:
        text = piece.text
        while code < len(cuts) and done + len(text) > cuts[code]:
            place = max(0, cuts[code] - done)
            line = text.find("\n", place)
            place = place if line < 0 else line + 1
            if place:
                yield code, Piece(text[:place], begins, piece.file)
            done, text, begins, code = done + place, text[place:], True, code + 1
        if text:
            yield code, Piece(text, begins, piece.file)
            done, begins = done + len(text), False
