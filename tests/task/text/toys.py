"""A small vocabulary, a small network over tokens and batches of unequal length, for tests of the language models."""

import json

import torch
from torch import nn

from ptft.data.data_module import DataSpec
from ptft.runtime.random import Draws

WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "##s", "##ly", "ran", "quick", ".")
SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
NAMES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
VOCABULARY = len(NAMES)
IGNORED = -100


def tokenizer_files():
    """Return a WordPiece tokenizer over the words above, as the files that travel with a model."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    backend = Tokenizer(models.WordPiece({name: i for i, name in enumerate(NAMES)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens([AddedToken(name, special=True) for name in NAMES[:5]])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = {f"{role}_token": NAMES[number] for role, number in SPECIAL.items()}
    return {"tokenizer.json": backend.to_str(), "tokenizer_config.json": json.dumps(roles)}


def spec(output="masked", *, length=40, files=None, **settings):
    """Return what data with this vocabulary know."""
    return DataSpec(
        kind="text",
        shape=(length,),
        inputs=("input_ids", "attention_mask", "token_type_ids"),
        target="tokens",
        output=output,
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        files=files if files is not None else {},
        **settings,
    )


class TokenNet(nn.Module):
    """Embeddings and one layer of attention, in both directions or backwards only; masked padding is not seen."""

    def __init__(self, output="masked", width=16, length=40):
        super().__init__()
        self.output, self.max_tokens = output, length
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(length, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.body = nn.Linear(width, 2 * width)
        self.head = nn.Linear(2 * width, VOCABULARY)
        if output == "pretraining":
            self.pair_head = nn.Linear(2 * width, 2)

    def forward(self, input_ids, attention_mask, token_type_ids=None, document=None, chosen=None):
        length = input_ids.shape[1]
        hidden = self.embedding(input_ids) + self.position.weight[:length]
        query, key, value = self.qkv(hidden).chunk(3, dim=-1)
        seen = attention_mask.bool()[:, None, :].expand(-1, length, -1)
        if self.output == "causal":
            seen = seen.tril()
        score = (query @ key.transpose(1, 2)).masked_fill(~seen, -1e9)
        hidden = torch.tanh(self.body(hidden + score.softmax(-1) @ value))
        logits = self.head(hidden if chosen is None else hidden[chosen])
        return (logits, self.pair_head(hidden[:, 0])) if self.output == "pretraining" else logits

    def next_token(self, input_ids, cache=None):
        tokens = input_ids if cache is None else torch.cat([cache, input_ids], dim=1)
        return self(tokens, torch.ones_like(tokens))[:, -1], tokens


def batch_of(lengths, *, seed=0, pairs=False, pad=0):
    """Return [CLS] words [SEP] of given lengths in all, padded to the longest and `pad` more; index counts from 0."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths) + pad
    input_ids = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        input_ids[row, :length] = torch.randint(5, VOCABULARY, (length,), generator=generator)
        input_ids[row, 0], input_ids[row, length - 1] = SPECIAL["cls"], SPECIAL["sep"]
    place = torch.arange(width)
    mask = (place < torch.tensor(lengths)[:, None]).long()
    batch = {"index": torch.arange(len(lengths)), "input_ids": input_ids, "attention_mask": mask}
    batch["token_type_ids"] = (place >= torch.tensor(lengths)[:, None] // 2).long() * mask
    if pairs:
        batch["next_sentence"] = torch.randint(2, (len(lengths),), generator=generator)
    return batch


def draws_for(batch, epoch=0, seed=0):
    """Return the draws of a batch as a loader makes them."""
    return Draws(seed, torch.full_like(batch["index"], epoch), batch["index"]).child("task")
