"""Tokens of a whole corpus on the disk: made once, mapped into memory, shared by all threads and runs.

A folder holds for each split the columns of its tokens as flat files, one token after the other: `ids` (uint16 or
uint32), and as the layout needs `bytes` (uint16, the UTF-8 bytes of text that a token stands for), `starts` (bool, does
it begin a word) - and where documents and sentences begin, int64 each.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

from ptft.data.text.sentences import sentences
from ptft.data.text.survey import SPLITS
from ptft.data.text.tokenizer import TextTokenizer
from ptft.data.text.words import WordStarts
from ptft.errors import DataError
from ptft.runtime.progress import progress

Layout = Literal["causal", "masked", "pairs"]
Array = npt.NDArray[Any]
_FACTS = "store.json"
_PART = 1 << 16
"""Characters that are tokenised together: their encodings take up to 20 MB."""
_MOST_BYTES = (1 << 16) - 1


@dataclass(frozen=True)
class Stream:
    """The tokens of one split.

    Attributes:
        ids: (N,) uint16 or uint32.
        documents: (D,) int64, the place of the first token of each document.
        sentences: (S,) int64, the place of the first token of each sentence; empty unless they were kept.
        num_bytes: (N,) uint16, UTF-8 bytes of text behind each token; None: not kept.
        word_start: (N,) bool; None: not kept.
    """

    ids: Array
    documents: Array
    sentences: Array
    num_bytes: Array | None = None
    word_start: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Tokens:
    """How a corpus becomes tokens.

    Attributes:
        tokenizer: The tokenizer.
        words: What tells where words begin.
        layout: What the tokens are for: causal ones lie between separators and tell their bytes, masked ones end with a
            separator and tell where words begin, pairs have no separators and tell where sentences begin too.
        separator: The token between documents.
    """

    tokenizer: TextTokenizer
    words: WordStarts
    layout: Layout
    separator: int


Source = Callable[[], Iterator[tuple[int, str, bool]]]
"""Returns the texts in order: the number of the split, the text, whether a document begins with it."""


def open_store(folder: Path) -> dict[str, Stream]:
    """Return the streams that `build_store` wrote, by split.

    Raises:
        ValueError: A file is not whole.
        OSError: One is missing.
    """
    facts: Mapping[str, Any] = json.loads((folder / _FACTS).read_bytes())
    for name, size in facts["sizes"].items():
        found = (folder / name).stat().st_size
        if found != size:
            raise ValueError(f"{name} has {found:,} bytes where {size:,} were written")

    def column(split: str, name: str) -> Array:
        file = folder / f"{split}.{name}"
        kind = np.dtype(facts["kinds"][name])
        if not facts["sizes"][file.name]:
            return np.zeros(0, dtype=kind)
        return np.memmap(file, dtype=kind, mode="r").view(np.ndarray)  # a memmap's own indexing takes microseconds

    return {
        split: Stream(
            column(split, "ids"),
            column(split, "documents"),
            column(split, "sentences"),
            column(split, "bytes") if "bytes" in facts["kinds"] else None,
            column(split, "starts") if "starts" in facts["kinds"] else None,
        )
        for split in SPLITS
    }


def build_store(source: Source, num_bytes: int, tokens: Tokens, folder: Path, threads: int = 2) -> None:
    """Tokenise a corpus into a folder.

    Args:
        source: Its texts.
        num_bytes: Their UTF-8 bytes, for the progress bar.
        tokens: How they become tokens.
        folder: An empty folder.
        threads: How many parts of the corpus are tokenised at once.

    Raises:
        DataError: A token does not lie in the vocabulary.
    """
    writers = [_Writer(folder, split, tokens) for split in SPLITS]
    try:
        with progress("tokenising", num_bytes, "bytes") as advance:
            for part in _in_threads(lambda texts: _encoded(texts, tokens), _parts(source()), threads):
                for code, encoded in part:
                    writers[code].add(encoded)
                    advance(encoded.size)
        for writer in writers:
            writer.end()
    finally:
        for writer in writers:
            writer.close()
    kinds = {name: np.dtype(kind).str for name, kind in _kinds(tokens).items()}
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    (folder / _FACTS).write_text(json.dumps({"kinds": kinds, "sizes": sizes}), encoding="utf-8")


# ---- Reading and encoding -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    """A piece of a document to encode: `begins` tells whether the document begins with it."""

    code: int
    text: str
    begins: bool


@dataclass(frozen=True)
class _Encoded:
    """The tokens of a piece: columns by name, places of sentences within it, and the UTF-8 bytes of the piece."""

    begins: bool
    columns: Mapping[str, Array]
    sentences: Array
    size: int


def _parts(texts: Iterator[tuple[int, str, bool]]) -> Iterator[list[_Text]]:
    """Yield the texts some at a time: about `_PART` characters."""
    part: list[_Text] = []
    size = 0
    for code, text, begins in texts:
        part.append(_Text(code, text, begins))
        size += len(text) + 64  # many tiny ones are as much work as a few long ones
        if size >= _PART:
            yield part
            part, size = [], 0
    if part:
        yield part


def _in_threads(
    work: Callable[[list[_Text]], list[tuple[int, _Encoded]]], parts: Iterator[list[_Text]], threads: int
) -> Iterator[list[tuple[int, _Encoded]]]:
    """Yield work(part) for each part, in order; as many are in work as there are threads, and one waits."""
    waiting: deque[Future[list[tuple[int, _Encoded]]]] = deque()
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="tokenise")
    try:
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _encoded(texts: list[_Text], tokens: Tokens) -> list[tuple[int, _Encoded]]:
    """Return each text encoded, with the number of its split."""
    cut = [sentences(text.text) if tokens.layout == "pairs" else [text.text] for text in texts]
    flat = [sentence for parts in cut for sentence in parts]
    encodings = tokens.tokenizer.pieces(flat)
    starts = tokens.words.of_all(encodings, flat) if tokens.layout != "causal" else []
    found, place = [], 0
    for text, parts in zip(texts, cut, strict=True):
        mine = range(place, place + len(parts))
        place += len(parts)
        lengths = [len(encodings[number]) for number in mine]
        columns = {"ids": _joined([np.array(encodings[number].ids, dtype=np.int64) for number in mine], np.int64)}
        if tokens.layout == "causal":
            columns["bytes"] = _joined([_bytes(encodings[number], flat[number]) for number in mine], np.int64)
        else:
            columns["starts"] = _joined([starts[number] for number in mine], np.bool_)
        begins = np.cumsum([0, *lengths])[:-1][np.array(lengths, dtype=np.int64) > 0]
        size = len(text.text.encode("utf-8", "surrogatepass"))
        found.append((text.code, _Encoded(text.begins, columns, begins, size)))
    return found


def _joined(parts: list[Array], kind: Any) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)


def _bytes(encoding: Encoding, text: str) -> Array:
    """Return the UTF-8 bytes behind each token: of its text, and of what was dropped before it; (T,) int64.

    What is dropped at the end counts for the last token, so that the sum is that of the text.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    sizes = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
    until = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    ends = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[:, 1]
    if not len(ends):
        return np.zeros(0, dtype=np.int64)
    ends = np.maximum.accumulate(ends)
    ends[-1] = len(codes)
    return np.diff(until[ends], prepend=0)


# ---- Writing --------------------------------------------------------------------------------------------------------


def _kinds(tokens: Tokens) -> dict[str, Any]:
    """Return the number types of the files, by column."""
    ids = np.uint16 if tokens.tokenizer.vocab_size <= 1 << 16 else np.uint32
    further: dict[str, Any] = {"bytes": np.uint16} if tokens.layout == "causal" else {"starts": np.bool_}
    return {"ids": ids, "documents": np.int64, "sentences": np.int64, **further}


class _Writer:
    """Writes the files of one split."""

    def __init__(self, folder: Path, split: str, tokens: Tokens) -> None:
        self._tokens = tokens
        self._kinds = _kinds(tokens)
        self._files: dict[str, BinaryIO] = {name: (folder / f"{split}.{name}").open("wb") for name in self._kinds}
        self._done = 0  # tokens written
        self._owed = 0  # bytes of text without a token yet
        self._open = False  # whether a document has begun and not ended
        if tokens.layout == "causal":
            self._separate()  # what the first token is predicted from

    def add(self, encoded: _Encoded) -> None:
        """Write a piece."""
        if encoded.begins:
            self.end()
            self._put("documents", np.array([self._done]))
            self._open = True
        ids = encoded.columns["ids"]
        if len(ids) and int(ids.max()) >= self._tokens.tokenizer.vocab_size:
            raise DataError(f"the tokenizer gives token {ids.max()}, beyond its {self._tokens.tokenizer.vocab_size:,}")
        if self._tokens.layout == "pairs":
            self._put("sentences", self._done + encoded.sentences)
        if not len(ids):
            self._owed += encoded.size
            return
        for name, values in encoded.columns.items():
            self._put(name, self._limited(values) if name == "bytes" else values)
        self._done += len(ids)

    def end(self) -> None:
        """End the document that is open, if one is."""
        if self._open and self._tokens.layout != "pairs":
            self._separate()
        self._open = False

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _separate(self) -> None:
        self._put("ids", np.array([self._tokens.separator]))
        if self._tokens.layout == "causal":
            self._put("bytes", np.array([min(self._owed, _MOST_BYTES)]))
            self._owed = 0
        else:
            self._put("starts", np.array([True]))
        self._done += 1

    def _limited(self, values: Array) -> Array:
        """Return the bytes of tokens, what is more than fits passed on to the next token."""
        values[0] += self._owed
        while len(over := np.flatnonzero(values[:-1] > _MOST_BYTES)):
            values[over[0] + 1] += values[over[0]] - _MOST_BYTES
            values[over[0]] = _MOST_BYTES
        self._owed = max(0, int(values[-1]) - _MOST_BYTES)
        return np.minimum(values, _MOST_BYTES)

    def _put(self, name: str, values: Array) -> None:
        self._files[name].write(np.ascontiguousarray(values, dtype=self._kinds[name]).data)
