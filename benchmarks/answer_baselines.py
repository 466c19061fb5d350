"""What plain rules reach on questions with answers in a text: `python -m benchmarks.answer_baselines qa_tiny`.

    no answer    none is ever given
    overlap      in the sentence that shares the most words with the question, the longest run of capitalised words
                 that the question does not hold, else the longest other word
    question     the same sentence; when, or in which year: its number; where, who or which town: as above; else the
                 longest word that is neither capitalised nor in the question

The last two give no answer where the sentence shares too few words; how few is chosen on validation, for the best F1.
`python -m benchmarks.answer_baselines squad train.json` does the same for a file. Half a minute of one core.
"""

import argparse
import os
import re
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from ptft.data.data_module import BatchPlan
from ptft.data.text.answer_texts import AnswerTexts
from ptft.data.text.qa_tiny import QaTiny
from ptft.data.text.squad import Squad
from ptft.metric.squad import exact_match, f1_score, tokens_of

Asked = tuple[str, str, tuple[str, ...]]
"""A question, its context and the right answers."""
Rule = Callable[[str, str], tuple[str, int]]
"""Returns the answer to a question on a context, and how many words it leans on."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_NAMES = re.compile(r"[A-Z]\w*(?: [A-Z]\w*)*")


def read(data: AnswerTexts) -> dict[str, list[Asked]]:
    """Return the questions of each split as the data give them to a network."""
    data.setup()
    splits = {}
    for name, loader in data.evaluation_loaders(BatchPlan(batch_size=256)).items():
        found: dict[int, Asked] = {}
        for batch in loader:
            rows = zip(batch["question"], batch["context"], batch["answers"], strict=True)
            found |= dict(zip(batch["index"].tolist(), rows, strict=True))
        splits[name] = list(found.values())
    return splits


def no_answer(question: str, context: str) -> tuple[str, int]:
    """Give no answer."""
    return "", 0


def overlap(question: str, context: str) -> tuple[str, int]:
    """Take the longest name of the sentence that shares the most words with the question."""
    sentence, shared = _closest(question, context)
    return _longest_name(question, sentence) or _longest_word(question, sentence), shared


def by_question_word(question: str, context: str) -> tuple[str, int]:
    """Take what the question's first word asks for, from the sentence that shares the most words with it."""
    sentence, shared = _closest(question, context)
    asked = question.lower()
    if re.match(r"when|(in )?(which|what) year", asked):
        found = re.search(r"\d+", sentence)
        return (found[0] if found else ""), shared
    if re.match(r"where|who|to whom|which town|what is the birthplace", asked):
        return _longest_name(question, sentence), shared
    return _longest_word(question, sentence), shared


def _closest(question: str, context: str) -> tuple[str, int]:
    words = set(tokens_of(question))
    return max(
        ((sentence, len(words & set(tokens_of(sentence)))) for sentence in _SENTENCE.split(context)),
        key=lambda pair: pair[1],
    )


def _longest_name(question: str, sentence: str) -> str:
    known = set(tokens_of(question))
    names = [name for name in _NAMES.findall(sentence) if not set(tokens_of(name)) & known and name not in ("In", "A")]
    return max(names, key=len, default="")


def _longest_word(question: str, sentence: str) -> str:
    known = set(tokens_of(question))
    words = [word for word in re.findall(r"\w+", sentence) if word.islower() and word not in known]
    return max(words, key=len, default="")


def scores(asked: Sequence[Asked], answers: Sequence[tuple[str, int]], least: int) -> tuple[float, float]:
    """Return mean exact match and F1 where answers that lean on fewer words than `least` are not given."""
    given = [answer if shared >= least else "" for answer, shared in answers]
    pairs = [(answer, golds) for answer, (_, _, golds) in zip(given, asked, strict=True)]
    return tuple(sum(score(*pair) for pair in pairs) / len(pairs) for score in (exact_match, f1_score))  # type: ignore[return-value]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("qa_tiny", "squad"))
    parser.add_argument("path", nargs="?", help="the file or folder of data=text/squad")
    chosen = parser.parse_args()
    splits = read(QaTiny(()) if chosen.data == "qa_tiny" else Squad((), path=chosen.path))
    print(f"{len(splits['test']):,} test questions\n\n| rule | least words | exact | F1 |\n|---|---|---|---|")
    for name, rule in (("no answer", no_answer), ("overlap", overlap), ("question", by_question_word)):
        found = {split: [rule(q, c) for q, c, _ in splits[split]] for split in ("val", "test")}
        least = max(range(6), key=lambda count: scores(splits["val"], found["val"], count)[1])
        exact, f1 = scores(splits["test"], found["test"], least)
        print(f"| {name} | {least} | {100 * exact:.1f} | {100 * f1:.1f} |")


if __name__ == "__main__":
    main()
