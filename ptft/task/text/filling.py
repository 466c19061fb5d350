"""What a masked language model says of hidden tokens: the likeliest candidates for each mask of a user's text."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ptft.data.data_module import Batch
from ptft.data.text.tokenizer import TextTokenizer
from ptft.loss.cast import at_least_float32
from ptft.task.text.tokens import IGNORED


def masks_as_labels(batch: Batch, mask: int) -> Batch:
    """Return the batch with `labels` (B, T) that ask for what stands behind the mask tokens of a user's text."""
    tokens = batch["input_ids"]
    return batch | {"labels": torch.where(tokens == mask, tokens, IGNORED)}


def filled(
    batch: Batch, logits: Tensor, tokenizer: TextTokenizer, specials: Sequence[int], candidates: int
) -> list[dict[str, Any]]:
    """Return for each row its `text` with the likeliest tokens in place of the masks, and the `masks` in their order.

    A mask is `{"tokens": [...], "probabilities": [...]}`, likeliest first.

    Args:
        batch: With `labels` as `masks_as_labels` makes them.
        logits: (N, V), a row for each mask of the batch.
        tokenizer: Turns numbers into text.
        specials: Tokens that are no candidates.
        candidates: How many tokens of each mask are told.
    """
    words = at_least_float32(logits).index_fill(1, torch.tensor(specials, device=logits.device), -torch.inf)
    most = min(candidates, logits.shape[1] - len(specials))
    probability, token = words.softmax(dim=1).topk(most, dim=1)
    asked = batch["labels"] != IGNORED
    best = batch["input_ids"].clone()
    best[asked] = token[:, 0]
    told = iter(zip(token.tolist(), probability.tolist(), strict=True))
    answers = []
    for tokens, mask, number in zip(best, batch["attention_mask"].bool(), asked.sum(dim=1).tolist(), strict=True):
        masks = [next(told) for _ in range(number)]
        answers.append(
            {
                "text": tokenizer.decode(tokens[mask].tolist()),
                "masks": [
                    {"tokens": [spelled(tokenizer, one) for one in likely], "probabilities": shares}
                    for likely, shares in masks
                ],
            }
        )
    return answers


def spelled(tokenizer: TextTokenizer, token: int) -> str:
    """Return a token as a reader knows it; one that is a space or a part of a letter by its name in the vocabulary."""
    return tokenizer.decode([token]).strip() or str(tokenizer.backend.id_to_token(token))


def shown_guesses(examples: Sequence[tuple[list[int], list[int], list[int]]], tokenizer: TextTokenizer) -> str:
    """Return some texts with what was hidden in them and what was guessed, for people.

    Args:
        examples: Of each text all its tokens, what was hidden, and what was guessed in its place.
        tokenizer: Turns numbers into text.
    """
    blocks = []
    for tokens, hidden, guessed in examples:
        pairs = [
            spelled(tokenizer, was) if was == said else f"{spelled(tokenizer, was)} (said {spelled(tokenizer, said)})"
            for was, said in zip(hidden, guessed, strict=True)
        ]
        blocks.append(f"{tokenizer.decode(tokens)}\nhidden: {', '.join(pairs)}")
    return "\n\n".join(blocks)


def kept_guesses(batch: Batch, prediction: Tensor, number: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Return the first `number` texts of a masked batch as `shown_guesses` takes them.

    Args:
        batch: With `labels` (B, T).
        prediction: (N,) the most probable token of each hidden one.
        number: How many.
    """
    asked = batch["labels"] != IGNORED
    restored = torch.where(asked, batch["labels"], batch["input_ids"])
    guessed = torch.split(prediction, asked.sum(dim=1).tolist())
    return [
        (
            restored[row][batch["attention_mask"][row].bool()].tolist(),
            batch["labels"][row][asked[row]].tolist(),
            guess.tolist(),
        )
        for row, guess in enumerate(guessed[:number])
    ]
