"""Where a tokenizer comes from: a folder that is named, the weights a run starts from, or the training texts.

Trained ones are the same for the same texts, on every machine and at every time: what the trainers of `tokenizers`
leave to chance (WordPiece numbers the inner characters in the order of a hash map) is given to them.

    wordpiece   Schuster and Nakajima 2012, as BERT splits text (arXiv 1810.04805): words, punctuation, Chinese
                characters each by themselves
    bpe         of bytes (GPT-2): every text can be written, and comes back as it was
    unigram     Kudo (arXiv 1804.10959): pieces of words, a space before a word marked by U+2581
    character   each character of the training texts
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from ptft.data.nested import nested
from ptft.data.text.tokenizer import CONFIG, ROLES_FILE, WHOLE, TextTokenizer, tokenizer_folder
from ptft.data.text.unigram import learn_pieces
from ptft.errors import ConfigError, DataError
from ptft.types import PositiveInt

Kind = Literal["auto", "wordpiece", "bpe", "unigram", "character"]
KINDS = ("auto", "wordpiece", "bpe", "unigram", "character")
_COVERED = 0.9995
"""Share of the characters of the texts that a vocabulary must be able to write; rarer ones may be unknown."""
_MOST_TOKENS = 1_000_000
_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_SPECIAL_CAUSAL = {"pad": "[PAD]", "unk": "[UNK]", "bos": "<|endoftext|>", "eos": "<|endoftext|>"}


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """Which tokenizer the data take.

    Attributes:
        kind: How text is cut; auto: as the weights expect that a run starts from, else wordpiece.
        vocab_size: Most tokens of a tokenizer that is trained; character takes as many as there are characters.
        lowercase: Whether case is dropped; auto: by wordpiece and unigram, as BERT does, not by bpe and character. Of a
            tokenizer that is taken over its own files decide.
        path: A folder whose tokenizer is taken; None: that of the weights, else one is trained.
    """

    kind: Kind = "auto"
    vocab_size: PositiveInt = 8000
    lowercase: bool | Literal["auto"] = "auto"
    path: str | None = None

    @classmethod
    def of(cls, values: "TokenizerSettings | Mapping[str, Any] | None") -> "TokenizerSettings":
        """Return settings from the mapping `data.tokenizer` of a config; None gives the default.

        Raises:
            ConfigError: A key is unknown, or a value is of the wrong type or out of range.
        """
        settings = nested(cls, values, "data.tokenizer")
        if settings.kind not in KINDS:
            raise ConfigError(f"data.tokenizer.kind is one of {', '.join(KINDS)}, found `{settings.kind}`")
        size = settings.vocab_size
        if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= _MOST_TOKENS:
            raise ConfigError(
                f"data.tokenizer.vocab_size takes a whole number from 1 to {_MOST_TOKENS:,}, found `{size}`"
            )
        if settings.lowercase not in (True, False, "auto"):
            raise ConfigError(f"data.tokenizer.lowercase takes true, false or auto, found `{settings.lowercase}`")
        if settings.path is not None and (not isinstance(settings.path, str) or not settings.path):
            raise ConfigError(f"data.tokenizer.path takes a folder, found `{settings.path}`")
        return settings

    def lowers(self, kind: str) -> bool:
        """Tell whether a tokenizer of some kind drops case."""
        return kind in ("wordpiece", "unigram") if self.lowercase == "auto" else bool(self.lowercase)


def make_tokenizer(
    settings: TokenizerSettings, texts: Iterable[str], folder: Path | None, *, causal: bool = False
) -> TextTokenizer:
    """Return the tokenizer of some data.

    Args:
        settings: What the config says.
        texts: The training texts; read only where a tokenizer is trained.
        folder: Where the weights lie that a run starts from; None: nowhere.
        causal: Whether it is for a model that goes on with a text: then documents end with `<|endoftext|>`, and
            no text is put between [CLS] and [SEP].

    Raises:
        ConfigError: `kind` is not what the folder holds, or `vocab_size` is too small for the texts.
        DataError: The folder's tokenizer is damaged, or there is no text to train one on.
    """
    return given_tokenizer(settings, folder) or train_tokenizer(settings, texts, causal=causal)


def given_tokenizer(settings: TokenizerSettings, folder: Path | None) -> TextTokenizer | None:
    """Return the tokenizer that the settings name, or that of the weights; None: there is none, so one is trained.

    Raises:
        ConfigError: `kind` is not what the folder holds.
        DataError: The tokenizer is damaged.
    """
    source = _source(settings, folder)
    if source is None:
        return None
    found = TextTokenizer.from_folder(source)
    if settings.kind not in ("auto", found.kind):
        named = f"data.tokenizer.path={settings.path} holds" if settings.path else f"the weights of {source} come with"
        raise ConfigError(
            f"data.tokenizer.kind={settings.kind}, but {named} a tokenizer of kind {found.kind}; leave out "
            "data.tokenizer.kind, or start from other weights"
        )
    return found


def train_tokenizer(settings: TokenizerSettings, texts: Iterable[str], *, causal: bool = False) -> TextTokenizer:
    """Train a tokenizer on texts; see `make_tokenizer`.

    Raises:
        ConfigError: `vocab_size` is too small for the texts.
        DataError: There is no text.
    """
    kind = "wordpiece" if settings.kind == "auto" else settings.kind
    special = _SPECIAL_CAUSAL if causal else _SPECIAL
    tokens = list(dict.fromkeys(special.values()))
    train = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram, "character": _character}[kind]
    tokenizer = train(_not_empty(texts), tokens, settings.vocab_size, settings.lowers(kind))
    tokenizer.add_special_tokens(tokens)
    if not causal:
        numbers = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=numbers
        )
    named = {f"{role}_token": token for role, token in special.items()}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        **named,
    }
    files = {
        WHOLE: tokenizer.to_str(pretty=True),
        CONFIG: json.dumps(config, indent=2) + "\n",
        ROLES_FILE: json.dumps(named, indent=2) + "\n",
    }
    return TextTokenizer.from_files(files)


def _source(settings: TokenizerSettings, folder: Path | None) -> Path | None:
    """Return the folder of a tokenizer that is taken over, if one is."""
    if settings.path is not None:
        path = Path(settings.path).expanduser()
        if not path.exists():
            raise DataError(f"data.tokenizer.path={settings.path}: there is no such folder")
        return path
    return tokenizer_folder(folder) if folder is not None else None


def _not_empty(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts.

    Raises:
        DataError: There is nothing but white space in them.
    """
    empty = True
    for text in texts:
        empty = empty and not text.strip()
        yield text
    if empty:
        raise DataError("there is no text to train a tokenizer on; give data with text, or data.tokenizer.path=...")


# ---- One function a kind: texts, special tokens, size, lower case -> a tokenizer without special handling ------------


def _wordpiece(texts: Iterable[str], special: list[str], size: int, lowercase: bool) -> Tokenizer:
    normalizer, splitter = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    words = _words(texts, normalizer, splitter)
    inner = {character for word in words for character in word[1:]}
    costs = {character: 2 if character in inner else 1 for word in words for character in word}
    alphabet = _alphabet(words, costs, size - len(special))
    # Numbered beforehand, they do not depend on the order of a hash map.
    first = [*special, *alphabet, *(f"##{character}" for character in alphabet if character in inner)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=first,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained = Tokenizer(models.WordPiece())
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trained.train_from_iterator(_repeated(words), trainer)
    vocabulary = trained.get_vocab(with_added_tokens=False)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _bpe(texts: Iterable[str], special: list[str], size: int, lowercase: bool) -> Tokenizer:
    least = len(special) + 256
    if size < least:
        raise ConfigError(f"data.tokenizer.vocab_size={size} has no room for the 256 bytes; give at least {least}")
    tokenizer = Tokenizer(models.BPE())
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _unigram(texts: Iterable[str], special: list[str], size: int, lowercase: bool) -> Tokenizer:
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    normalizer = normalizers.Sequence(steps)
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    words = _words(texts, normalizer, splitter)
    room = size - len(special)
    alphabet = _alphabet(words, {character: 1 for word in words for character in word}, room)
    pieces = learn_pieces(words, room, characters=alphabet)
    vocabulary = [(token, 0.0) for token in special] + pieces
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=special.index("[UNK]")))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _character(texts: Iterable[str], special: list[str], size: int, lowercase: bool) -> Tokenizer:
    counts: Counter[str] = Counter()
    lower = normalizers.Lowercase()
    for text in texts:
        counts.update(lower.normalize_str(text) if lowercase else text)
    vocabulary = {token: number for number, token in enumerate([*special, *sorted(counts)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    if lowercase:
        tokenizer.normalizer = lower
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _words(texts: Iterable[str], normalizer: Any, splitter: Any) -> dict[str, int]:
    """Count the words that a tokenizer will cut further."""
    spaced: Counter[str] = Counter()
    for text in texts:
        spaced.update(normalizer.normalize_str(text).split())
    words: Counter[str] = Counter()
    for chunk, count in spaced.items():
        for word, _ in splitter.pre_tokenize_str(chunk):
            words[word] += count
    return dict(sorted(words.items()))


def _repeated(words: Mapping[str, int]) -> Iterator[str]:
    """Yield each word as often as it occurs, many in one text."""
    for word, count in words.items():
        for begin in range(0, count, 1000):
            yield " ".join([word] * min(1000, count - begin))


def _alphabet(words: Mapping[str, int], costs: Mapping[str, int], room: int) -> list[str]:
    """Return the characters that a vocabulary writes: those needed, and more where there is room.

    Args:
        words: Words and how often each occurs.
        costs: Characters and how many tokens each takes.
        room: How many tokens there can be.

    Raises:
        ConfigError: There is no room for those needed.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    total, covered, taken = sum(counts.values()), 0, 0
    alphabet = []
    for character, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        needed = covered < _COVERED * total
        if not needed and taken + costs[character] > room // 2:
            break
        alphabet.append(character)
        covered += count
        taken += costs[character]
    if taken > room:
        raise ConfigError(
            f"data.tokenizer.vocab_size is too small for the characters of these texts, which take {taken:,} tokens "
            f"and have {max(0, room):,}; give at least {taken * 2:,}, or data.tokenizer.kind=bpe, which writes bytes"
        )
    return sorted(alphabet)
