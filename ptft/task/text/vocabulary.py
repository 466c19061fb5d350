"""What text data tell a language model: how tokens read, which of them begin a word, what blocks are laid out for."""

import json
from functools import lru_cache

import torch
from torch import Tensor

from ptft.data.data_module import DataSpec
from ptft.data.text.tokenizer import TextTokenizer
from ptft.errors import ConfigError

_BEGINS = ("▁", "Ġ", "Ċ", "ĉ")
"""How a token begins that had a space, a line's end or a tab before it: SentencePiece, byte-level BPE (GPT-2)."""


def tokenizer_of(spec: DataSpec) -> TextTokenizer:
    """Return the tokenizer that travels with the data; made once, as a large one takes a tenth of a second.

    Raises:
        DataError: Its files are missing or damaged.
    """
    return _made(tuple(spec.files.items()))


@lru_cache(maxsize=2)
def _made(files: tuple[tuple[str, str], ...]) -> TextTokenizer:
    return TextTokenizer.from_files(dict(files))


def starts_word(spec: DataSpec) -> Tensor:
    """Return which tokens begin a word, (V,) bool, by the tokenizer's own marks; all where it makes none.

    WordPiece marks what continues a word (`##ing`), SentencePiece and byte-level BPE what begins one (`▁the`, `Ġthe`).
    """
    starts = torch.ones(spec.vocab_size, dtype=torch.bool)
    if "tokenizer.json" not in spec.files:
        return starts
    model = json.loads(spec.files["tokenizer.json"])["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):  # unigram: pairs of token and score
        vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
    continues = model.get("continuing_subword_prefix")
    if continues:
        marked = [number for token, number in vocabulary.items() if token.startswith(continues)]
    elif any(token.startswith(_BEGINS) for token in vocabulary):
        marked = [number for token, number in vocabulary.items() if not token.startswith(_BEGINS)]
    else:
        marked = []
    starts[torch.tensor(marked, dtype=torch.long)] = False
    return starts


def check_layout(spec: DataSpec, task: str, *fitting: str) -> None:
    """See that blocks of raw text are laid out for a task; other texts have no layout, and fit.

    Args:
        spec: What the data know.
        task: The option of the task, for the message.
        fitting: The layouts that fit, the one to advise first.

    Raises:
        ConfigError: The blocks are laid out for another task.
    """
    layout = spec.preprocessing.get("layout")
    if layout is not None and layout not in fitting:
        raise ConfigError(
            f"data.layout={layout} does not fit task={task}, which learns from data.layout={fitting[0]}; change one of "
            "them"
        )
