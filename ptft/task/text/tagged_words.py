"""From the logits of tokens to the tags of words: windows joined, tags chosen, words without a token filled in.

A token speaks for the word that it is the first of. A long text comes as windows, in which each word is spoken for
once, so that joining them is putting words in order. A word that no token speaks for (a tokenizer may put two into one
token) belongs to the word before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ptft.data.data_module import Batch
from ptft.metric.tag_set import TagSet


@dataclass(frozen=True)
class SpokenWords:
    """What some windows of an example say, joined.

    Attributes:
        row: The row of the batch that completed it.
        words: (K,) int64 numbers of the words, rising.
        scores: (K, C) float64 log probabilities of their tags.
        left: Windows of the example that have not been seen.
    """

    row: int
    words: Tensor
    scores: Tensor
    left: int


class WindowJoiner:
    """Joins the windows of examples, which may come in any order and in different batches."""

    def __init__(self) -> None:
        """Start without any window."""
        self._open: dict[int, SpokenWords] = {}

    def update(self, logits: Tensor, batch: Batch) -> list[SpokenWords]:
        """Take a batch in; return the examples that are complete with it, each in order of its words.

        Args:
            logits: (B, T, C).
            batch: Holds `word` (B, T), the word that each token speaks for or -1, `windows` and `index` (B,).
        """
        word = batch["word"].cpu()
        chosen = word >= 0
        scores = logits.detach()[chosen.to(logits.device)].double().cpu().log_softmax(-1)  # (N, C)
        sizes = chosen.sum(1).tolist()
        done = []
        parts = zip(torch.split(word[chosen], sizes), torch.split(scores, sizes), strict=True)
        for row, (words, own) in enumerate(parts):
            index = int(batch["index"][row])
            part = SpokenWords(row, words, own, int(batch["windows"][row]) - 1)
            before = self._open.pop(index, None)
            if before is not None:
                part = SpokenWords(
                    row, torch.cat([before.words, words]), torch.cat([before.scores, own]), before.left - 1
                )
            if part.left > 0:
                self._open[index] = part
                continue
            order = part.words.argsort()
            done.append(SpokenWords(row, part.words[order], part.scores[order], 0))
        return done


def choose_tags(scores: Sequence[Tensor], tags: TagSet, *, valid: bool) -> list[list[int]]:
    """Return the tags of rows of words.

    Args:
        scores: (K, C) log probabilities of each row.
        tags: What the tags mean.
        valid: Whether only rows of tags count that IOB2 allows: the likeliest of these (Viterbi, 1967); else each word
            gets its likeliest tag.
    """
    if not scores:
        return []
    lengths = [len(row) for row in scores]
    padded = pad_sequence(list(scores), batch_first=True)  # (N, K, C)
    found = _viterbi(padded, torch.tensor(lengths), tags.follows()) if valid else padded.argmax(-1)
    return [row[:length] for row, length in zip(found.tolist(), lengths, strict=True)]


def _viterbi(scores: Tensor, lengths: Tensor, follows: Tensor) -> Tensor:
    """Return the tags (N, K) with the largest sum of scores (N, K, C) among those that may follow each other."""
    forbidden = torch.zeros_like(follows, dtype=scores.dtype).masked_fill_(~follows, -torch.inf)  # (C + 1, C)
    steps = scores.shape[1]
    if not steps:
        return scores.new_zeros(scores.shape[:2], dtype=torch.int64)
    best = scores[:, 0] + forbidden[-1]  # (N, C)
    came = []
    for step in range(1, steps):
        value, origin = (best[:, :, None] + forbidden[:-1]).max(dim=1)
        inside = (step < lengths)[:, None]
        # Behind its end a row stays as it is: each tag comes from itself.
        came.append(torch.where(inside, origin, torch.arange(scores.shape[2])))
        best = torch.where(inside, value + scores[:, step], best)
    tag = best.argmax(1)
    path = [tag]
    for origin in reversed(came):
        tag = origin.gather(1, tag[:, None])[:, 0]
        path.append(tag)
    return torch.stack(path[::-1], dim=1)


def fill_in(words: Sequence[int], tags: Sequence[int], size: int, known: TagSet, outside: int) -> list[int]:
    """Return a tag for each of `size` words, of which only some are spoken for.

    Args:
        words: Their numbers, rising.
        tags: Their tags.
        size: How many words there are.
        known: What the tags mean.
        outside: The tag of words before the first one that is spoken for.
    """
    if len(words) == size:
        return list(tags)
    found, current, place = [], outside, 0
    for word in range(size):
        if place < len(words) and words[place] == word:
            current = tags[place]
            place += 1
            found.append(current)
        else:
            current = known.continued(current)
            found.append(current)
    return found
