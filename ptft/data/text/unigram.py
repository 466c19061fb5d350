"""Pieces of words and their probabilities, after Kudo (Subword Regularization, arXiv 1804.10959, section 3.2).

The most probable segmentation of each word stands for all of them (Viterbi training). Unlike the trainer of
`tokenizers`, the same words always give the same pieces.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer, models

Pieces = list[tuple[str, float]]
"""Texts with the natural logarithms of their probabilities."""
_SEEDS = 4
"""Candidates at the beginning, for each piece wanted."""
_SHRINK = 0.6
"""Share of the pieces that a round keeps."""
_MOST_WORDS = 200_000
"""Different words that are looked at, the most frequent ones."""
_UNKNOWN = -30.0
"""Logarithm of the probability of a character that is no piece."""
_DIGITS = 6
"""Decimals of a logarithm that are kept: beyond, processors may differ."""


def learn_pieces(words: Mapping[str, int], size: int, *, longest: int = 12, characters: Iterable[str] = ()) -> Pieces:
    """Return the pieces that words are best cut into, the most probable first.

    Args:
        words: Words and how often each occurs.
        size: How many pieces; fewer where the words do not give that many.
        longest: Most characters of a piece.
        characters: Single characters that are pieces in any case; None of the others is one. Their number must be
            below `size`.
    """
    kept = sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_WORDS]
    texts, counts = [word for word, _ in kept], np.array([count for _, count in kept], dtype=np.float64)
    single = dict.fromkeys(characters)
    found = _substrings(kept, longest)
    seeds = sorted(found, key=lambda text: (-found[text] * len(text), text))[: _SEEDS * size]
    scores = _scores({**dict.fromkeys(single, 0), **{text: found[text] for text in seeds}})
    while True:
        scores = _scores(_usage(scores, texts, counts, single))
        longer = [text for text in scores if text not in single]
        room = size - len(single)
        if len(longer) <= room:
            scores = _scores(_usage(scores, texts, counts, single))
            break
        loss = {text: math.exp(scores[text]) * _gain(text, scores) for text in longer}
        best = sorted(longer, key=lambda text: (-loss[text], text))[: max(room, int(_SHRINK * len(longer)))]
        stay = set(best)
        scores = {text: score for text, score in scores.items() if text in single or text in stay}
    return sorted(
        ((text, round(score, _DIGITS)) for text, score in scores.items()), key=lambda piece: (-piece[1], piece[0])
    )


def segmenter(pieces: Sequence[tuple[str, float]]) -> Tokenizer:
    """Return what cuts texts into the most probable pieces: characters that are no piece come alone, as number 0."""
    vocabulary = [("\0", min((score for _, score in pieces), default=0.0) - 10.0), *pieces]
    return Tokenizer(models.Unigram(vocabulary, unk_id=0))


def _substrings(words: Sequence[tuple[str, int]], longest: int) -> Counter[str]:
    """Count the texts of 2 to `longest` characters within words; those met once say nothing."""
    found: Counter[str] = Counter()
    for word, count in words:
        size = len(word)
        for begin in range(size - 1):
            for end in range(begin + 2, min(begin + longest, size) + 1):
                found[word[begin:end]] += count
    return Counter({text: count for text, count in found.items() if count > 1})


def _scores(counts: Mapping[str, float]) -> dict[str, float]:
    """Return logarithms of probabilities; what never occurs counts half."""
    total = sum(max(count, 0.5) for count in counts.values())
    return {text: math.log(max(count, 0.5) / total) for text, count in counts.items()}


def _usage(
    scores: Mapping[str, float], words: Sequence[str], counts: np.ndarray, single: Mapping[str, None]
) -> dict[str, float]:
    """Return how often each piece stands in the best segmentations; unused ones but single characters are gone."""
    pieces = list(scores.items())
    encodings = segmenter(pieces).encode_batch_fast(list(words), add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter((len(row) for row in ids), dtype=np.int64, count=len(ids))
    flat = np.fromiter((number for row in ids for number in row), dtype=np.int64, count=int(lengths.sum()))
    used = np.bincount(flat, weights=np.repeat(counts, lengths), minlength=len(pieces) + 1)[1:].tolist()
    return {text: count for (text, _), count in zip(pieces, used, strict=True) if count or text in single}


def _gain(text: str, scores: Mapping[str, float]) -> float:
    """Return by how much a piece is more probable than its best segmentation into others."""
    best = [0.0] + [-math.inf] * len(text)
    for end in range(1, len(text) + 1):
        for begin in range(end):
            if end - begin < len(text):
                score = scores.get(text[begin:end], _UNKNOWN if end - begin == 1 else -math.inf)
                best[end] = max(best[end], best[begin] + score)
    return max(0.0, scores[text] - best[-1])
