"""Questions about made-up people, written by templates from a seed: synthetic, small, and in no need of any file.

A paragraph tells of one or two people what they did. A question asks for one of these facts, mostly in other words than
the paragraph's. What a guess could go by stands there more than once: two years and two towns in the life of a person,
and the same deed of somebody else. Every fourth question asks for what the paragraph does not tell of that person.

Names are built of syllables. All this is like no language: how a model does here is not how it does on real texts.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

_FIRST = tuple(onset + rest for onset, rest in product("bdgklmnrst", ("al", "en", "or", "is", "um")))
_LAST = tuple(onset + rest for onset, rest in product("bdgklmnrst", "aoi"))
_ENDINGS = ("burg", "ton", "ford", "stad")
_VALUES: Mapping[str, tuple[str, ...]] = {
    "work": ("baker", "painter", "doctor", "teacher", "printer", "farmer", "tailor", "miller", "singer", "lawyer"),
    "subject": ("law", "music", "botany", "physics", "history", "medicine", "logic", "geology"),
    "animal": ("dog", "cat", "horse", "goat", "parrot", "donkey"),
    "number": ("two", "three", "four", "five", "six", "seven"),
    "tool": ("violin", "flute", "piano", "harp", "trumpet", "drum"),
}
DEEDS: Mapping[str, tuple[str, ...]] = {
    "birth": ("{who} was born in {town} in {year}.", "In {year} {who} was born in {town}."),
    "move": ("{who} moved to {town}.", "{who} left home for {town}."),
    "death": ("{who} died in {year}.", "In {year} {who} was buried."),
    "work": ("{who} worked as a {work}.", "{who} was a {work} for many years."),
    "study": ("{who} read {subject} at the university.", "{who} took a degree in {subject}."),
    "marriage": ("{who} married {spouse}.", "{who} became the partner of {spouse}."),
    "family": ("{who} had {number} children.", "{who} raised {number} sons and daughters."),
    "pet": ("{who} kept a {animal}.", "A {animal} lived with {who}."),
    "music": ("{who} played the {tool}.", "In the evening {who} practised the {tool}."),
}
"""What a person can do, and sentences that tell it."""
QUESTIONS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("birth", "town"): ("Where was {who} born?", "What is the birthplace of {who}?"),
    ("birth", "year"): ("When was {who} born?", "In which year did the life of {who} begin?"),
    ("move", "town"): ("Where did {who} move to?", "Which town became the new home of {who}?"),
    ("death", "year"): ("When did {who} die?", "In which year did the life of {who} end?"),
    ("work", "work"): ("What was the profession of {who}?", "How did {who} earn a living?"),
    ("study", "subject"): ("What did {who} study?", "Which field did {who} learn?"),
    ("marriage", "spouse"): ("Who was the spouse of {who}?", "To whom was {who} wed?"),
    ("family", "number"): ("How many children had {who}?", "How large was the offspring of {who}?"),
    ("pet", "animal"): ("Which pet did {who} have?", "What creature did {who} own?"),
    ("music", "tool"): ("Which instrument did {who} play?", "On what did {who} make music?"),
}
"""What is asked of each deed, by the kind of the answer."""


@dataclass(frozen=True)
class MadeQuestion:
    """A question with its answer.

    Attributes:
        question: The question.
        kind: The deed, and the kind of answer it asks for: `birth town`.
        answer: A text of the paragraph, and the place of its first character; None: the paragraph does not tell.
    """

    question: str
    kind: str
    answer: tuple[str, int] | None


@dataclass(frozen=True)
class MadeParagraph:
    """A paragraph with its questions."""

    text: str
    questions: tuple[MadeQuestion, ...]


def names(seed: int) -> list[str]:
    """Return all 1,500 names there are, `Talki`, in an order that the seed decides."""
    made = [(first + last).capitalize() for first, last in product(_FIRST, _LAST)]
    random.Random(seed).shuffle(made)
    return made


def paragraphs(
    pool: Sequence[str], count: int, seed: int, *, unanswerable: float = 0.25, questions: int = 4
) -> Iterator[MadeParagraph]:
    """Yield paragraphs.

    Args:
        pool: Names to take.
        count: How many paragraphs.
        seed: With the pool, decides all.
        unanswerable: Share of the questions that the paragraph does not answer.
        questions: Questions of a paragraph.
    """
    draw = random.Random(seed)
    for _ in range(count):
        yield _paragraph(draw, pool, unanswerable, questions)


def _paragraph(draw: random.Random, pool: Sequence[str], unanswerable: float, questions: int) -> MadeParagraph:
    people = draw.sample(pool, draw.choice((1, 1, 2)))
    deeds = draw.sample(sorted(DEEDS), 4 // len(people) + 1)
    told = [(person, deed) for person in people for deed in deeds]
    if len(people) == 2:  # the second lacks one deed of the first, so that this one tells nothing of both
        told.pop()
    draw.shuffle(told)
    text, spans = "", dict[tuple[str, str, str], tuple[str, int]]()
    for person, deed in told:
        text += " " if text else ""
        sentence, own = _sentence(draw, deed, person, pool)
        spans |= {(person, deed, kind): (value, start + len(text)) for kind, (value, start) in own.items()}
        text += sentence
    asked: dict[tuple[str, str, str], MadeQuestion] = {}
    while len(asked) < questions:
        person, answered = draw.choice(people), draw.random() >= unanswerable
        choices = [key for key in QUESTIONS if ((person, key[0]) in told) == answered]
        near = [key for key in choices if answered or any((other, key[0]) in told for other in people)]
        deed, kind = draw.choice(near or choices)
        question = draw.choice(QUESTIONS[deed, kind]).format(who=person)
        asked[person, deed, kind] = MadeQuestion(question, f"{deed} {kind}", spans.get((person, deed, kind)))
    return MadeParagraph(text, tuple(asked.values()))


def _sentence(
    draw: random.Random, deed: str, person: str, pool: Sequence[str]
) -> tuple[str, dict[str, tuple[str, int]]]:
    """Return a sentence, and each fact in it with the place of its first character."""
    other = draw.choice([name for name in draw.sample(pool, 3) if name != person])
    facts = {kind: draw.choice(values) for kind, values in _VALUES.items()}
    year = draw.randrange(1800, 1840) + (50 if deed == "death" else 0)
    facts |= {"who": person, "spouse": other, "town": other[:-2] + draw.choice(_ENDINGS), "year": str(year)}
    text, found, rest = "", {}, draw.choice(DEEDS[deed])
    while rest:
        before, brace, rest = rest.partition("{")
        kind, _, rest = rest.partition("}")
        text += before
        if brace:
            found[kind] = (facts[kind], len(text))
            text += facts[kind]
    return text, found
