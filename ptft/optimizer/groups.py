"""Which parameters weight decay applies to, and at what share of the learning rate each is trained.

Norms, biases and embeddings are left alone by default: decaying them does not regularise the function they are part of
(arXiv 1706.05350 shows it for weights before a norm; leaving out the rest is the field's habit since BERT).
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def embedding_names(module: nn.Module) -> set[str]:
    """Return the names of the parameters that are embeddings.

    These are tables, and the tokens, positions and scales of channels that a network holds beside its layers: tensors
    of three dimensions of which at least one is 1.
    """
    return {
        f"{name}.{key}" if name else key
        for name, child in module.named_modules()
        for key, parameter in child.named_parameters(recurse=False)
        if (isinstance(child, _EMBEDDINGS) and key == "weight")
        or (key not in ("weight", "bias") and parameter.ndim == 3 and 1 in parameter.shape)
    }


def parameter_groups(
    parameters: Mapping[str, nn.Parameter],
    embeddings: set[str],
    *,
    decay_all: bool = False,
    scales: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Cut parameters into groups that are decayed and groups that are not; every parameter is in exactly one.

    Args:
        parameters: Trainable parameters by name.
        embeddings: Names among them that are embedding tables.
        decay_all: Decay norms, biases and embeddings too.
        scales: Factor on the learning rate by name; one that is missing is 1.

    Returns:
        Groups for a torch optimizer, highest `lr_scale` first, with the parameters' `names`; those that are not decayed
        set `weight_decay` to 0.
    """
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        # Norm scales and all biases are the parameters with fewer than two dimensions.
        decay = decay_all or (parameter.ndim >= 2 and name not in embeddings)
        scale = (scales or {}).get(name, 1.0)
        fresh = {"params": [], "names": [], "decay": decay, "lr_scale": scale}
        group = groups.setdefault((-scale, not decay), fresh if decay else {**fresh, "weight_decay": 0.0})
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]
