"""What the tags of words mean: where entities begin and end in a row of them, by the scheme IOB2.

In IOB2 (Sang and Veenstra, EACL 1999) `B-PER` begins an entity of the type PER, `I-PER` goes on with it, `O` is none.
Strictly read, as here, an `I-` that follows nothing of its type is no entity. Tags without such beginnings (parts of
speech) are plain: each word stands for itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

OUTSIDE = "O"


class Entity(NamedTuple):
    """The words [start, end) of a row, and their type, a number in `TagSet.types`."""

    start: int
    end: int
    type: int


class TagSet:
    """Tags by number, read as IOB2 where they are, else as plain.

    Attributes:
        classes: Names of the tags.
        plain: Whether each word stands for itself.
        types: Names of the types of entities; of plain tags the tags themselves.
        type_of: (C,) the type of each tag; -1: outside.
        begins: (C,) bool, whether a tag begins an entity.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        """Read the names of the tags."""
        self.classes = tuple(classes)
        inside = [name for name in self.classes if name != OUTSIDE]
        self.plain = not (inside and all(name[:2] in ("B-", "I-") and name[2:] for name in inside))
        if self.plain:
            self.types = self.classes
            self.type_of = list(range(len(self.classes)))
            self.begins = [True] * len(self.classes)
        else:
            self.types = tuple(dict.fromkeys(name[2:] for name in inside))
            places = {name: number for number, name in enumerate(self.types)}
            self.type_of = [-1 if name == OUTSIDE else places[name[2:]] for name in self.classes]
            self.begins = [name.startswith("B-") and name != OUTSIDE for name in self.classes]

    def entities(self, tags: Sequence[int]) -> list[Entity]:
        """Return the entities in the tags of a row of words, in order."""
        if self.plain:
            return [Entity(place, place + 1, tag) for place, tag in enumerate(tags)]
        found: list[Entity] = []
        start, current = 0, -1  # the entity that is open, and its type
        for place, tag in enumerate(tags):
            kind = self.type_of[tag]
            if current >= 0 and (self.begins[tag] or kind != current):
                found.append(Entity(start, place, current))
                current = -1
            if self.begins[tag]:
                start, current = place, kind
        if current >= 0:
            found.append(Entity(start, len(tags), current))
        return found

    def continued(self, tag: int) -> int:
        """Return the tag of a word that belongs to the word before it, whose tag is given."""
        if self.plain or not self.begins[tag]:
            return tag
        name = f"I-{self.types[self.type_of[tag]]}"
        return self.classes.index(name) if name in self.classes else tag

    def follows(self) -> Tensor:
        """Return which tag may follow which: (C + 1, C) bool, the last row for the beginning of a row of words."""
        size = len(self.classes)
        allowed = torch.ones(size + 1, size, dtype=torch.bool)
        for tag in range(size):
            if not self.begins[tag] and self.type_of[tag] >= 0:
                allowed[:, tag] = torch.tensor([kind == self.type_of[tag] for kind in self.type_of] + [False])
        return allowed
