"""A tokenizer together with what tells where words begin: what text becomes tokens by, kept as files."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptft.data.text import words
from ptft.data.text.tokenizer import TextTokenizer, tokenizer_folder
from ptft.data.text.tokenizer_training import TokenizerSettings, train_tokenizer
from ptft.data.text.words import WordStarts
from ptft.errors import DataError

_TRAINING_BYTES = 64 << 20
"""UTF-8 bytes that a vocabulary is learned from, about: evenly taken from all texts. More would not change it much."""


@dataclass(frozen=True)
class Coder:
    """What text becomes tokens by.

    Attributes:
        tokenizer: The tokenizer.
        words: What tells where words begin.
    """

    tokenizer: TextTokenizer
    words: WordStarts

    @classmethod
    def from_files(cls, files: Mapping[str, str], where: str = "the tokenizer") -> "Coder":
        """Take what `files` gave.

        Raises:
            DataError: A file is missing or damaged.
        """
        return cls(TextTokenizer.from_files(files, where), WordStarts.from_files(files))

    @property
    def files(self) -> dict[str, str]:
        """Texts by file name."""
        return {**self.tokenizer.files, **self.words.files}


def given_words(folder: Path | None) -> WordStarts | None:
    """Return the words that lie beside the tokenizer of some weights; None: there are none.

    Raises:
        DataError: They are damaged.
    """
    place = tokenizer_folder(folder) if folder is not None else None
    if place is None or not (place / words.FILE).is_file():
        return None
    return WordStarts.from_files({words.FILE: (place / words.FILE).read_text(encoding="utf-8")})


def words_for(files: Mapping[str, str] | None, folder: Path | None, texts: Iterable[str]) -> WordStarts:
    """Return what tells where words begin: as a run knows it, or the weights, or learned from the training texts.

    Args:
        files: Those of the run; None: there is none yet.
        folder: Where the weights lie that a run starts from; None: nowhere.
        texts: The training texts; read only where words are learned.

    Raises:
        DataError: What is known is damaged.
    """
    if files is not None:
        return WordStarts.from_files(files)
    return given_words(folder) or WordStarts.learn(texts)


def make_coder(
    settings: TokenizerSettings,
    texts: Callable[[], Iterable[str]],
    num_bytes: int,
    *,
    tokenizer: TextTokenizer | None,
    known: WordStarts | None,
    causal: bool,
) -> Coder:
    """Learn what is not given.

    Args:
        settings: How a tokenizer is trained.
        texts: Returns the training texts, from the beginning each time.
        num_bytes: About their UTF-8 bytes.
        tokenizer: The tokenizer that is given; None: one is trained.
        known: The words that are given; None: they are learned.
        causal: Whether it is for a model that goes on with a text; such a one hides no words.

    Raises:
        ConfigError: The vocabulary is too small for the texts.
        DataError: There is no text.
    """
    if tokenizer is None:
        # Every character is to be a token, so all texts are read for them.
        whole = settings.kind == "character"
        tokenizer = train_tokenizer(settings, texts() if whole else _some(texts(), num_bytes), causal=causal)
    if known is None:
        known = WordStarts() if causal else WordStarts.learn(_some(texts(), num_bytes))
    return Coder(tokenizer, known)


def write_coder(coder: Coder, folder: Path) -> None:
    """Write the files into a folder."""
    for name, text in coder.files.items():
        (folder / name).write_text(text, encoding="utf-8")


def open_coder(folder: Path) -> Coder:
    """Return what `write_coder` wrote.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return Coder.from_files({file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()})
    except DataError as error:
        raise ValueError(str(error)) from None


def _some(texts: Iterable[str], num_bytes: int) -> Iterator[str]:
    """Yield texts evenly taken, so that they are about `_TRAINING_BYTES`."""
    share = min(1.0, _TRAINING_BYTES / max(1, num_bytes))
    for number, text in enumerate(texts):
        if int((number + 1) * share) > int(number * share):
            yield text
