"""What blocks are laid out for: what a tokenizer must bring for it, and the blocks of each split."""

from collections.abc import Mapping
from dataclasses import dataclass

from ptft.data.text.coder import Coder
from ptft.data.text.packed import Blocks, CausalBlocks, MaskedBlocks
from ptft.data.text.sentence_pairs import SentencePairs
from ptft.data.text.token_store import Layout, Stream, Tokens
from ptft.errors import DataError

LEAST = {"causal": 1, "masked": 3, "pairs": 8}
"""Least `max_length` of each layout: special tokens and some text."""


@dataclass(frozen=True)
class BlockForm:
    """What blocks look like.

    Attributes:
        layout: What they are for.
        length: Tokens of a block.
        isolate: Whether documents in a block are told apart.
    """

    layout: Layout
    length: int
    isolate: bool


def tokens_for(coder: Coder, layout: Layout) -> Tokens:
    """Return how text becomes tokens.

    Raises:
        DataError: The tokenizer lacks a special token that the layout needs.
    """
    roles = coder.tokenizer.special_tokens
    separator = roles.get("eos", roles.get("sep"))
    if separator is None or (layout != "causal" and not {"cls", "sep"} <= set(roles)):
        needs = "a token that ends a text" if layout == "causal" else "tokens for [CLS] and [SEP]"
        raise DataError(
            f"data.layout={layout} needs a tokenizer with {needs}; this one has {', '.join(roles) or 'none'}. "
            "Choose another layout, or another tokenizer (data.tokenizer.path)"
        )
    return Tokens(coder.tokenizer, coder.words, layout, separator)


def cut_blocks(streams: Mapping[str, Stream], coder: Coder, form: BlockForm, title: str) -> dict[str, Blocks]:
    """Return the blocks of each split.

    Raises:
        DataError: A split holds no text, or no two documents where pairs are made; `title` is what messages call it.
    """
    roles = coder.tokenizer.special_tokens
    pad, first = roles.get("pad", 0), 0
    blocks: dict[str, Blocks] = {}
    for split, stream in streams.items():
        if form.layout == "causal":
            made: Blocks = CausalBlocks(stream, form.length, first, pad, form.isolate)
        elif form.layout == "masked":
            made = MaskedBlocks(stream, form.length, roles["cls"], roles["sep"], first, pad, form.isolate)
        else:
            made = SentencePairs(stream, form.length, roles["cls"], roles["sep"], first, pad)
        if not len(made):
            raise DataError(f"{title}: {split} holds no text; give more data, or another data.split.{split}")
        if isinstance(made, SentencePairs) and not made.has_strangers():
            raise DataError(
                f"{title}: {split} holds one document, and data.layout=pairs takes half of the second segments from "
                "others; give more documents, as data.documents=paragraph makes of a file"
            )
        blocks[split], first = made, first + len(made)
    return blocks
