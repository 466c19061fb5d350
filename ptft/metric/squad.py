"""Exact match and F1 of answers by SQuAD's rules (Rajpurkar and others, arXiv 1606.05250 and 1806.03822).

A text is lowered, loses the punctuation of ASCII and the words a, an and the, and falls into words at spaces. Two
answers match if those words are the same; their F1 is that of the words as bags. Of several gold answers the best one
counts. No answer against no answer is 1, against any answer 0; gold answers of which nothing is left do not count.

SQuAD's rules know no language without spaces. With `auto` a text that holds Chinese or Japanese characters falls into
those one by one, its other words whole, and loses all punctuation of Unicode: close to CMRC 2018 (arXiv 1810.07366),
whose script takes the longest common substring in the place of bags. Other texts are judged exactly as by SQuAD.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal

Unit = Literal["auto", "words", "characters"]
"""What an answer falls into: words as in SQuAD, every character alone, or by the text which of them."""
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ASCII = str.maketrans("", "", string.punctuation)
# Han with its extensions and compatibility forms, hiragana, katakana: written without spaces.
_UNSPACED = re.compile("[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


def tokens_of(text: str, unit: Unit = "auto") -> list[str]:
    """Return what an answer is compared by.

    Args:
        text: An answer.
        unit: What it falls into.
    """
    lowered = text.lower()
    if unit == "words" or (unit == "auto" and not _UNSPACED.search(lowered)):
        return _ARTICLES.sub(" ", lowered.translate(_ASCII)).split()
    kept = "".join(char for char in lowered if char not in string.punctuation and not _is_punctuation(char))
    if unit == "characters":
        return [char for char in kept if not char.isspace()]
    return _UNSPACED.sub(r" \g<0> ", _ARTICLES.sub(" ", kept)).split()


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P")


def exact_match(answer: str, golds: Sequence[str], unit: Unit = "auto") -> float:
    """Return 1 if an answer is one of the gold ones, else 0.

    Args:
        answer: The answer; empty: none.
        golds: All answers that are right; empty: there is none.
        unit: What texts fall into.
    """
    tokens = tokens_of(answer, unit)
    return float(any(tokens == gold for gold in _comparable(golds, unit)))


def f1_score(answer: str, golds: Sequence[str], unit: Unit = "auto") -> float:
    """Return the F1 of an answer against the gold one that it is closest to, 0 to 1; arguments as `exact_match`."""
    tokens = tokens_of(answer, unit)
    return max(_f1(tokens, gold) for gold in _comparable(golds, unit))


def _comparable(golds: Sequence[str], unit: Unit) -> list[list[str]]:
    return [tokens for gold in golds if (tokens := tokens_of(gold, unit))] or [[]]


def _f1(answer: Sequence[str], gold: Sequence[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    common = (Counter(answer) & Counter(gold)).total()
    return 2 * common / (len(answer) + len(gold))
