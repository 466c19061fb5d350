"""How far a student is from its teacher inside: hidden states of its blocks, relations of its last attention.

Legend: B batch, T tokens, D width.
"""

import torch
from torch import Tensor

from ptft.data.data_module import Batch
from ptft.errors import ConfigError
from ptft.loss.distillation import relation_heads, relation_sum, state_distance_sum
from ptft.task.block_states import Seen, as_tokens


def even_places(own: int, theirs: int) -> list[int]:
    """Return which of a teacher's blocks each of a student's is compared with: evenly spread, the last with the last.

    Args:
        own: Blocks of the student.
        theirs: Blocks of the teacher.
    """
    return [max((2 * number * theirs + own) // (2 * own), 1) - 1 for number in range(1, own + 1)]


def unlikeness(own: Seen, known: Seen, batch: Batch) -> dict[str, Tensor]:
    """Return how far a student is from its teacher inside, by name, each a sum over the examples.

    Args:
        own: What was seen of the student.
        known: What was seen of the teacher.
        batch: The batch; `attention_mask` (B, T) tells padding, `document` (B, T) the documents of a block.

    Raises:
        ConfigError: Their shapes cannot be compared.
    """
    found = {}
    if own.states:
        terms = []
        for place, there in enumerate(even_places(len(own.states), len(known.states))):
            mine, theirs = comparable(own.states[place], known.states[there])
            terms.append(state_distance_sum(mine, theirs, _real_tokens(batch, mine)))
        found["hidden_states"] = torch.stack(terms).mean()
    if own.projections:
        terms = []
        for kind, vectors in own.projections.items():
            mine, theirs = comparable(vectors, known.projections[kind])
            heads = relation_heads(mine.shape[-1], theirs.shape[-1])
            terms.append(relation_sum(mine, theirs, _related_tokens(batch, mine), heads))
        found["attention_relations"] = torch.stack(terms).mean()
    return found


def comparable(own: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Return two states as (B, T, D) and (B, T, D'), of any widths if they are rows of tokens.

    Raises:
        ConfigError: They hold different numbers of tokens, or are no tokens and differ in shape.
    """
    tokens = own.ndim == theirs.ndim == 3 and own.shape[1] > 1
    same = own.shape[:-1] == theirs.shape[:-1] if tokens else own.shape == theirs.shape
    if not same:
        raise ConfigError(
            f"the student's blocks give {tuple(own.shape[1:])} and the teacher's {tuple(theirs.shape[1:])} for an "
            "example, which cannot be compared; set hidden and attention to 0, so that the outputs alone are"
        )
    return as_tokens(own), as_tokens(theirs)


def _real_tokens(batch: Batch, states: Tensor) -> Tensor:
    """Return which tokens of states (B, T, D) are no padding, (B, T) bool."""
    mask: Tensor | None = batch.get("attention_mask")
    if mask is None:
        return torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    if mask.shape != states.shape[:2]:
        raise ConfigError(
            f"a block gives {tuple(states.shape[1:])} for an example of {mask.shape[1]} tokens, which is no state of "
            "each; set hidden and attention to 0"
        )
    return mask.bool()


def _related_tokens(batch: Batch, vectors: Tensor) -> Tensor:
    """Return which tokens are compared with which, (B, T, T) bool: those of one document."""
    real = _real_tokens(batch, vectors)
    related = real[:, :, None] & real[:, None]
    document: Tensor | None = batch.get("document")
    return related if document is None else related & (document[:, :, None] == document[:, None])
