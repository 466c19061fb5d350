"""Text to token numbers and back, by the `tokenizers` library; and the files that let other libraries do the same.

A tokenizer is known by its files: tokenizer.json holds all of it, tokenizer_config.json and special_tokens_map.json
say which tokens play which role, as transformers' AutoTokenizer reads them.
"""

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tokenizers import Encoding, Tokenizer

from ptft.errors import DataError

ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
WHOLE, CONFIG, ROLES_FILE = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
FILES = (WHOLE, CONFIG, ROLES_FILE)
"""What is kept of a tokenizer's folder; the last two may be missing."""
_CONVERTIBLE = ("vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""What a folder without tokenizer.json can hold instead; transformers makes one of it."""
_USUAL = {
    "pad": ("[PAD]", "<pad>", "<|endoftext|>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "bos": ("<s>", "<|endoftext|>"),
    "eos": ("</s>", "<|endoftext|>"),
}
"""What tokens are called where no file tells their roles."""
Truncate = Literal["longest_first", "only_first", "only_second"]


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer; safe to use in several threads.

    Attributes:
        files: Texts by file name, as they lie in a folder.
        backend: What does the work. It neither truncates nor pads, and nobody may set it to.
        special_tokens: Token numbers by role, those there are: pad, unk, cls, sep, mask, bos, eos.
    """

    files: Mapping[str, str]
    backend: Tokenizer
    special_tokens: Mapping[str, int]
    _truncating: dict[tuple[int, int, str], Tokenizer] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def from_files(cls, files: Mapping[str, str], where: str = "the tokenizer") -> "TextTokenizer":
        """Build a tokenizer from the texts of its files.

        Args:
            files: At least tokenizer.json.
            where: What messages call it.

        Raises:
            DataError: A file is missing or damaged.
        """
        if WHOLE not in files:
            raise DataError(
                f"{where} has no {WHOLE}; take a folder that has one, or train one: data.tokenizer.path=null"
            )
        try:
            backend = Tokenizer.from_str(files[WHOLE])
        except Exception as error:  # the library raises nothing more precise
            raise DataError(f"{where}: {WHOLE} is damaged ({error}); bring the file back, or train another") from None
        backend.no_truncation()
        backend.no_padding()
        kept = {name: files[name] for name in FILES if name in files}
        return cls(kept, backend, _special_tokens(kept, backend, where))

    @classmethod
    def from_folder(cls, path: Path) -> "TextTokenizer":
        """Read the tokenizer of a folder: that of a run, of transformers, or one with a vocab.txt alone.

        Raises:
            DataError: There is none, or it is damaged.
        """
        folder = tokenizer_folder(path)
        if folder is None:
            raise DataError(
                f"{path} holds no tokenizer; expected {WHOLE} (or {', '.join(_CONVERTIBLE)}) in it or in its model/"
            )
        if not (folder / WHOLE).is_file():
            return cls.from_files(_converted(folder), str(folder))
        files = {}
        for name in FILES:
            try:
                files[name] = (folder / name).read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{folder / name} cannot be read: {error}; bring the file back") from None
        return cls.from_files(files, str(folder))

    @cached_property
    def vocab_size(self) -> int:
        """Token numbers lie in [0, vocab_size)."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def kind(self) -> str:
        """What kind of tokenizer it is: wordpiece, bpe, unigram or character."""
        name = json.loads(self.files[WHOLE])["model"].get("type") or "WordPiece"
        return {"WordLevel": "character"}.get(name, str(name).lower())

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        stride: int = 0,
        truncate: Truncate = "longest_first",
    ) -> list[Encoding]:
        """Return the tokens of texts, or of pairs of texts, special tokens added.

        Args:
            texts: The texts.
            pairs: As many second texts; None: there are none.
            max_length: Most tokens, the special ones counted; None: no limit.
            stride: What is cut off comes as further windows in `.overflowing` of an encoding, each of which repeats so
                many tokens of the window before; 0: none repeated.
            truncate: What is cut: the longer of the two, or always the first or the second.

        Raises:
            DataError: `max_length` leaves no room for text.
        """
        tokenizer = self.backend if max_length is None else self._at_most(max_length, stride, truncate)
        inputs = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        try:
            return tokenizer.encode_batch(inputs)
        except Exception as error:  # the library raises nothing more precise
            raise DataError(
                f"a text cannot be cut to data.max_length={max_length} tokens ({error}); give a larger data.max_length"
            ) from None

    def pieces(self, texts: Sequence[str]) -> list[Encoding]:
        """Return the tokens of texts as they are: no special tokens, nothing cut."""
        return self.backend.encode_batch(list(texts), add_special_tokens=False)

    def num_special(self, pair: bool = False) -> int:
        """Return how many special tokens `encode` adds to a text, or to a pair of texts."""
        return self.backend.num_special_tokens_to_add(pair)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of some tokens.

        Raises:
            DataError: A number is no token.
        """
        size = self.vocab_size
        if outside := [number for number in ids if not 0 <= number < size]:
            raise DataError(f"token {outside[0]} does not lie in the vocabulary of {size:,} tokens")
        return self.backend.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def _at_most(self, max_length: int, stride: int, truncate: Truncate) -> Tokenizer:
        """Return a tokenizer that truncates so: one for each setting, made once and never changed."""
        key = (max_length, stride, truncate)
        with self._lock:
            if key not in self._truncating:
                least = self.num_special(pair=True) + 1 + stride
                if max_length < least:
                    raise DataError(
                        f"data.max_length={max_length} leaves no room for text beside the special tokens"
                        f"{' and data.stride' if stride else ''}; give at least {least}"
                    )
                tokenizer = Tokenizer.from_str(self.backend.to_str())
                tokenizer.enable_truncation(max_length, stride=stride, strategy=truncate)
                self._truncating[key] = tokenizer
            return self._truncating[key]


def tokenizer_folder(path: Path) -> Path | None:
    """Return the folder that holds the tokenizer of some weights, if they have one.

    Args:
        path: A run, its model/, one of its checkpoints, a folder of transformers, or a file in one of these.
    """
    folder = path.parent if path.is_file() else path
    places = [folder, folder / "model"]
    if re.fullmatch(r"step_\d+", folder.name):
        places.append(folder.parent.parent / "model")
    for names in ((WHOLE,), _CONVERTIBLE):
        for place in places:
            if any((place / name).is_file() for name in names):
                return place
    return None


def _converted(folder: Path) -> dict[str, str]:
    """Return the files that transformers makes of an older kind of tokenizer; no code of the folder is run."""
    import tempfile

    from transformers import AutoTokenizer

    try:
        made = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, use_fast=True, local_files_only=True)
        with tempfile.TemporaryDirectory() as temporary:
            made.save_pretrained(temporary)
            files = {name: Path(temporary, name) for name in FILES}
            return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}
    except Exception as error:  # whatever goes wrong in there, the folder is at fault
        raise DataError(
            f"{folder} holds no {WHOLE}, and transformers cannot make one of what it holds: {error}"
        ) from None


def _special_tokens(files: Mapping[str, str], backend: Tokenizer, where: str) -> dict[str, int]:
    """Return token numbers by role: as the files tell, or by their usual names where no file tells any."""
    told: dict[str, Any] = {}
    for name in (ROLES_FILE, CONFIG):  # what the second says wins
        if name in files:
            try:
                values = json.loads(files[name])
            except ValueError as error:
                raise DataError(f"{where}: {name} is damaged ({error}); bring the file back") from None
            if not isinstance(values, dict):
                raise DataError(f"{where}: {name} holds no mapping; bring the file back")
            told |= {role: values[f"{role}_token"] for role in ROLES if values.get(f"{role}_token")}
    found: dict[str, int] = {}
    for role in ROLES:
        names = (told[role],) if role in told else () if told else _USUAL[role]
        for value in names:
            content = value.get("content") if isinstance(value, dict) else value
            number = backend.token_to_id(content) if isinstance(content, str) else None
            if number is not None:
                found.setdefault(role, number)
    if "pad" not in found and "eos" in found:
        found["pad"] = found["eos"]  # padding is masked whatever stands there
    return found
