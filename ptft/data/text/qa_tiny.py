"""A small synthetic set of questions on made-up people: see `made_questions.py`. Each split has people of its own."""

from dataclasses import dataclass

from ptft.data.text.answer_texts import AnswerTexts
from ptft.data.text.made_questions import names, paragraphs
from ptft.data.text.rows import TextRows
from ptft.data.text.squad_file import Questions
from ptft.errors import ConfigError
from ptft.runtime.random import seed_for
from ptft.types import NonNegativeInt, PositiveInt, UnitFloat

_SPLITS = ("train", "val", "test")


@dataclass(eq=False, repr=False, kw_only=True)
class QaTiny(AnswerTexts):
    """Made-up questions; further settings as told at `AnswerTexts`. Their column `kind` tells what is asked for.

    The paragraphs of all three splits, and the people they tell of, are shared out as `split.val` and `split.test` say.

    Attributes:
        paragraphs: Paragraphs in all splits together, each with four questions.
        unanswerable: Share of the questions whose paragraph does not tell.
    """

    max_length: PositiveInt = 80
    stride: NonNegativeInt = 16
    paragraphs: PositiveInt = 6000
    unanswerable: UnitFloat = 0.25

    @property
    def title(self) -> str:
        """What messages call the data."""
        return "qa_tiny (synthetic)"

    def read(self) -> TextRows:
        """Make the questions.

        Raises:
            ConfigError: There are too few paragraphs for three splits, or a file is named.
        """
        if self.path is not None:
            raise ConfigError(f"data.path={self.path}: data=text/qa_tiny reads no file; data=text/squad does")
        division = self._division
        pool, found, kinds = names(division.seed), Questions(), list[str]()
        shares = {"val": division.val, "test": division.test}
        shares["train"] = 1 - sum(shares.values())
        taken = 0
        for number, split in enumerate(_SPLITS):
            count, own = round(shares[split] * self.paragraphs), round(shares[split] * len(pool))
            if count < 1 or own < 8:
                raise ConfigError(
                    f"data.paragraphs={self.paragraphs} and data.split leave too little for {split}: give more "
                    "paragraphs, or larger shares"
                )
            made = paragraphs(
                pool[taken : taken + own], count, seed_for(division.seed, number), unanswerable=self.unanswerable
            )
            taken += own
            for place, paragraph in enumerate(made):
                for question in paragraph.questions:
                    found.question.append(question.question)
                    found.context.append(paragraph.text)
                    found.answers.append((question.answer,) if question.answer is not None else ())
                    found.split.append(split)
                    found.title.append(f"{split} {place}")
                    found.paragraph.append(f"{split} {place}")
                    found.id.append(str(len(found.id)))
                    found.place.append((f"{split} paragraph {place}, {question.kind}", 0))
                    kinds.append(question.kind)
        return found.rows(divided=True, columns={"kind": kinds})
