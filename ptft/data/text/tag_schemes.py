"""Schemes in which tags say where entities begin and end, and the way from each of them to IOB2.

IOB2    B- begins an entity, I- goes on with it (Sang and Veenstra, EACL 1999)
IOB1    I- begins one too; B- only where an entity follows one of its type at once (Ramshaw and Marcus, 1995)
BIOES   E- ends an entity, S- is one of a single word; also written with L, U and M: BILOU, BMES
plain   no beginnings at all: parts of speech
"""

import re
from collections.abc import Iterable, Sequence

OUTSIDE = "O"
_PREFIXED = re.compile(r"([BIESLUM])[-_](.+)", re.DOTALL)
_LETTERS = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
_FEW = 0.05
"""Share of entities begun in the other scheme up to which they are mistakes and not a mixture of both."""
_NAMES = {"iob2": "IOB2", "iob1": "IOB1", "bioes": "BIOES"}


class TagError(ValueError):
    """A tag that cannot stand where it stands; `place` is its word."""

    def __init__(self, message: str, place: int) -> None:
        """Keep the place, which may be the end of the row."""
        super().__init__(message)
        self.place = place


def split_tag(tag: str) -> tuple[str, str]:
    """Return the letter of a tag - B, I, E, S, O - and its type; the letter is empty where there is none."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    match = _PREFIXED.fullmatch(tag)
    return (_LETTERS[match[1]], match[2]) if match is not None else ("", tag)


def find_scheme(rows: Iterable[Sequence[str]]) -> tuple[str, tuple[int, int] | None]:
    """Return the scheme of the tags of a file, and where it is doubtful: the row and word of a tag of another scheme.

    Args:
        rows: The tags of each sentence.
    """
    letters: set[str] = set()
    inner: list[tuple[int, int]] = []  # I- that begins an entity: IOB1
    begun: list[tuple[int, int]] = []  # B- that only IOB2 has
    for row, tags in enumerate(rows):
        before = (OUTSIDE, "")
        for word, tag in enumerate(tags):
            letter, kind = split_tag(tag)
            letters.add(letter)
            follows = before[0] in ("B", "I") and before[1] == kind
            if letter == "I" and not follows:
                inner.append((row, word))
            elif letter == "B" and not follows:
                begun.append((row, word))
            before = (letter, kind)
    if letters & {"E", "S"}:
        return "bioes", None
    if "" in letters and not letters & {"B", "I"}:
        return "plain", None
    if not inner:
        return "iob2", None
    if not begun:
        return "iob1", None
    return "iob2", inner[0] if len(inner) > _FEW * (len(inner) + len(begun)) else None


def to_iob2(tags: Sequence[str], scheme: str) -> tuple[str, ...]:
    """Return the tags of a sentence in IOB2; plain ones stay as they are.

    Raises:
        TagError: A tag cannot stand where it stands.
    """
    if scheme == "plain":
        return tuple(tags)
    found = []
    for place, tag in enumerate(tags):
        letter, kind = split_tag(tag)
        before = tags[place - 1] if place else ""
        _check(place, tag, before, scheme)
        if letter == "I" and not _goes_on(kind, before):
            letter = "B"  # as IOB1 begins an entity
        letter = {"S": "B", "E": "I"}.get(letter, letter)
        found.append(OUTSIDE if letter == OUTSIDE else f"{letter}-{kind}")
    if scheme == "bioes" and tags and split_tag(tags[-1])[0] in ("B", "I"):
        last = len(tags) - 1
        raise TagError(f"the sentence ends with {quoted(tags[-1])}: in BIOES an entity ends with E- or is S-", last)
    return tuple(found)


def _check(place: int, tag: str, before: str, scheme: str) -> None:
    """Check that a tag may stand behind another; empty: at the beginning."""
    letter, kind = split_tag(tag)
    if not letter:
        raise TagError(f"the tag {quoted(tag)} is neither O nor begins with B-, I- and the like, as others do", place)
    if letter in ("E", "S") and scheme != "bioes":
        raise TagError(f"the tag {quoted(tag)} is none of {_NAMES[scheme]}; is it data.scheme=bioes?", place)
    where = f"cannot follow {quoted(before)}" if before else "cannot begin a sentence"
    if letter == "I" and scheme == "iob2" and not _goes_on(kind, before):
        hint = "in IOB2 an entity begins with B- (data.scheme=iob1 lets it begin with I-)"
        raise TagError(f"the tag {quoted(tag)} {where}: {hint}", place)
    if scheme == "bioes":
        if letter in ("I", "E") and not _goes_on(kind, before):
            raise TagError(f"the tag {quoted(tag)} {where}: in BIOES an entity begins with B- or is S-", place)
        if letter in ("B", "S", OUTSIDE) and before and split_tag(before)[0] in ("B", "I"):
            raise TagError(f"the tag {quoted(tag)} {where}: in BIOES an entity ends with E- or is S-", place)


def _goes_on(kind: str, before: str) -> bool:
    """Tell whether the tag before is part of an entity of some type that may go on."""
    letter, own = split_tag(before) if before else (OUTSIDE, "")
    return letter in ("B", "I") and own == kind


def quoted(tag: str) -> str:
    """Return a tag as messages show it."""
    return f"`{tag[:40]}`"


def tag_names(rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the classes of some tags in order: O, then B- and I- of each type, whether both occur or not."""
    names = {tag for tags in rows for tag in tags}
    if any(split_tag(name)[0] not in ("B", "I", OUTSIDE) for name in names):
        return tuple(sorted(names))
    types = sorted({split_tag(name)[1] for name in names if name != OUTSIDE})
    return (OUTSIDE, *(f"{letter}-{kind}" for kind in types for letter in "BI"))
