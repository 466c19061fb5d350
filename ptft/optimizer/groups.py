"""Which parameters weight decay applies to.

Norms, biases and embeddings are left alone by default: decaying them does not regularise the function they are part of
(arXiv 1706.05350 shows it for weights before a norm; leaving out the rest is the field's habit since BERT).
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def embedding_names(module: nn.Module) -> set[str]:
    """Return the names of the parameters that are embedding tables."""
    return {
        f"{name}.weight" if name else "weight"
        for name, child in module.named_modules()
        if isinstance(child, _EMBEDDINGS)
    }


def parameter_groups(
    parameters: Mapping[str, nn.Parameter], embeddings: set[str], *, decay_all: bool = False
) -> list[dict[str, Any]]:
    """Cut parameters into the group that is decayed and the one that is not; every parameter is in exactly one.

    Args:
        parameters: Trainable parameters by name.
        embeddings: Names among them that are embedding tables.
        decay_all: Decay norms, biases and embeddings too.

    Returns:
        Groups for a torch optimizer, with the parameters' `names`; the second one sets `weight_decay` to 0.
    """
    decayed: dict[str, nn.Parameter] = {}
    kept: dict[str, nn.Parameter] = {}
    for name, parameter in parameters.items():
        # Norm scales and all biases are the parameters with fewer than two dimensions.
        (decayed if decay_all or (parameter.ndim >= 2 and name not in embeddings) else kept)[name] = parameter
    groups = [
        {"params": list(decayed.values()), "names": list(decayed), "decay": True},
        {"params": list(kept.values()), "names": list(kept), "decay": False, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
