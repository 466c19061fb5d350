"""Tables that weights bring: of tokens and of positions, in another number than this model has."""

from collections.abc import Mapping

from torch import Tensor


def other_vocabulary(given: Tensor, own: Tensor) -> str:
    """Return why a table of tokens does not fit, and what to do.

    Args:
        given: That of the weights, (tokens, width).
        own: That of the model.
    """
    if given.ndim != 2 or own.ndim != 2 or given.shape[0] == own.shape[0]:
        return ""
    return (
        f"the weights know {given.shape[0]:,} tokens, the tokenizer of the data {own.shape[0]:,}: a table of tokens "
        "means nothing by another tokenizer; give the data that of the weights with data.tokenizer.path=..."
    )


def other_positions(given: Tensor, own: Tensor) -> str:
    """Return why a table of positions does not fit, and what to do; arguments as above."""
    if given.ndim != 2 or own.ndim != 2 or given.shape[0] >= own.shape[0]:
        return ""
    return (
        f"the weights have positions for {given.shape[0]} tokens, the model for {own.shape[0]}; set data.max_length="
        f"{given.shape[0]} or less (and model.positions, where it is not auto)"
    )


def cut_positions(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return weights of which a longer table of positions keeps only the first rows, which mean the same.

    Args:
        tensors: Weights by the model's names; not changed.
        own: The model's tensors.
        name: Of the table.
    """
    given = tensors.get(name)
    rows = own[name].shape[0] if name in own else 0
    if given is None or given.ndim != 2 or given.shape[1:] != own[name].shape[1:] or given.shape[0] <= rows:
        return dict(tensors)
    return {**tensors, name: given[:rows]}
