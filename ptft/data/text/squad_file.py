"""Files in SQuAD's format (v1.1 and v2.0, CMRC and the like): articles, paragraphs, questions, answers with places.

    {"version": "v2.0", "data": [{"title": "Normans", "paragraphs": [{"context": "...", "qas": [
        {"id": "56dd", "question": "...", "is_impossible": false, "answers": [{"text": "...", "answer_start": 159}]},
        {"id": "5ad3", "question": "...", "is_impossible": true, "answers": [], "plausible_answers": [...]}]}]}]}

Everything is checked: an answer must stand in its context at answer_start. `plausible_answers` are no answers and are
not used. Article and question are named where something is wrong with them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptft.data.listing import quoted
from ptft.data.text.bad_rows import BadRows
from ptft.data.text.rows import Place, TextRows
from ptft.errors import DataError

Answer = tuple[str, int]
"""A text of the context, and the place of its first character there."""


@dataclass
class Questions:
    """Questions as read, row by row; `answers` is empty where the context holds none."""

    question: list[str] = field(default_factory=list)
    context: list[str] = field(default_factory=list)
    answers: list[tuple[Answer, ...]] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    title: list[str] = field(default_factory=list)
    paragraph: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    place: list[Place] = field(default_factory=list)

    def rows(self, *, divided: bool, columns: Mapping[str, list[str]] | None = None) -> TextRows:
        """Return them as rows of texts: the question, its context as the pair, the answers as labels.

        Args:
            divided: Whether the data come divided, by `split`.
            columns: Further columns.
        """
        named = {"id": self.id, "title": self.title, "paragraph": self.paragraph, **(columns or {})}
        return TextRows(
            texts=self.question,
            pairs=self.context,
            labels=self.answers,
            splits=self.split if divided else None,
            columns=named,
            places=self.place,
            extra={"context": self.context},
        )


def read_squad(file: Path, split: str, into: Questions, bad: BadRows, seen: dict[str, str]) -> None:
    """Read a file.

    Args:
        file: The file.
        split: What its questions belong to.
        into: Where they go.
        bad: Where those go that cannot be used.
        seen: Where each id was met so far, to tell ids that stand there twice.

    Raises:
        DataError: The file is no JSON or not of this format, or a question cannot be used and none may be left out.
    """
    for number, article in enumerate(_articles(file), start=1):
        where = f"article {number}"
        if not isinstance(article, dict):
            raise _wrong(file, where, "an object with paragraphs", article)
        title = article.get("title")
        title = title.strip() if isinstance(title, str) and title.strip() else where
        where = quoted(title) if title != where else where
        for count, paragraph in enumerate(_list(file, where, article, "paragraphs"), start=1):
            place = f"{where}, paragraph {count}"
            if not isinstance(paragraph, dict):
                raise _wrong(file, place, "an object with context and qas", paragraph)
            for asked in _list(file, place, paragraph, "qas"):
                name = f"{file.name}: {place}, question {_id(asked)}"
                try:
                    question, answers = _question(asked, paragraph.get("context"), name, seen)
                except ValueError as error:
                    bad.note(name, 0, str(error))
                    continue
                into.question.append(question)
                into.context.append(paragraph["context"])
                into.answers.append(answers)
                into.split.append(split)
                into.title.append(title)
                into.paragraph.append(f"{title} {number}/{count}")  # articles may share a title
                into.id.append(str(asked["id"]))
                into.place.append((name, 0))


def _articles(file: Path) -> list[Any]:
    try:
        document = json.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start:,}; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no JSON: {error}; expected a file in SQuAD's format") from None
    if not isinstance(document, dict) or "data" not in document:
        found = f"an object of {', '.join(map(quoted, list(document)[:5]))}" if isinstance(document, dict) else "a list"
        raise DataError(f'{file}: expected SQuAD\'s format, {{"version": ..., "data": [articles]}}, found {found}')
    return _list(file, "the whole", document, "data")


def _list(file: Path, where: str, owner: Mapping[str, Any], key: str) -> list[Any]:
    found = owner.get(key)
    if not isinstance(found, list):
        raise _wrong(file, where, f"a list `{key}`", found)
    return found


def _wrong(file: Path, where: str, expected: str, found: Any) -> DataError:
    what = "nothing" if found is None else f"a {type(found).__name__}"
    return DataError(f"{file}: {where}: expected {expected}, found {what}; the format is that of SQuAD")


def _id(asked: Any) -> str:
    name = asked.get("id") if isinstance(asked, dict) else None
    return str(name) if isinstance(name, str | int) else "without an id"


# ---- Questions -----------------------------------------------------------------------------------------------------


def _question(asked: Any, context: Any, name: str, seen: dict[str, str]) -> tuple[str, tuple[Answer, ...]]:
    """Return a question and its answers.

    Raises:
        ValueError: Something is wrong with it; says what.
    """
    if not isinstance(asked, dict):
        raise ValueError(f"expected an object with id, question and answers, found a {type(asked).__name__}")
    for key in ("id", "question"):
        if not isinstance(asked.get(key), str) and not (key == "id" and type(asked.get(key)) is int):
            raise ValueError(f"the key `{key}` is missing or no text; it has {', '.join(map(quoted, asked)) or 'none'}")
    if not asked["question"].strip():
        raise ValueError("the question is empty")
    if not isinstance(context, str) or not context.strip():
        raise ValueError("the context is empty" if isinstance(context, str) else "the key `context` is missing")
    number = str(asked["id"])
    if number in seen:
        raise ValueError(f"the id stands there already: {seen[number]}; each question needs its own")
    seen[number] = name
    answers, impossible = asked.get("answers"), asked.get("is_impossible", False)
    if not isinstance(impossible, bool):
        raise ValueError(f"is_impossible is {quoted(str(impossible))}; expected true or false")
    if impossible and not answers:
        return asked["question"], ()
    if not isinstance(answers, list):
        raise ValueError("the key `answers` is missing or no list")
    if impossible:
        raise ValueError(f"is_impossible is true, and there are {len(answers)} answers; keep one of both")
    if not answers:
        raise ValueError('there is no answer; a question without one says so: "is_impossible": true')
    return asked["question"], tuple(_checked(answers, context))


def _checked(answers: list[Any], context: str) -> Iterator[Answer]:
    for answer in answers:
        text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (None, None)
        if not isinstance(text, str) or isinstance(start, bool) or not isinstance(start, int):
            raise ValueError("an answer needs `text`, a text, and `answer_start`, a whole number")
        if not text.strip():
            raise ValueError('an answer is empty; a question without one says so: "is_impossible": true')
        if start < 0 or context[start : start + len(text)] != text:
            found = quoted(context[start : start + len(text)]) if 0 <= start < len(context) else "nothing"
            place = context.find(text)
            hint = f"; it stands at {place}" if place >= 0 else "; the context does not hold it"
            raise ValueError(f"the answer {quoted(text)} does not stand at answer_start={start}: {found} does{hint}")
        yield text, start
