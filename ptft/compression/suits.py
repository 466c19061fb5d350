"""Where a network's weights lie, by the kind of layer: what tells which form suits it."""

from torch import nn

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "linear": (nn.Linear,),
    "convolution": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "embedding": (nn.Embedding,),
    "lstm": (nn.LSTM,),
    "recurrent": (nn.RNNBase,),
}


def weights_in(network: nn.Module) -> dict[str, int]:
    """Return how many weights lie in each kind of layer, and in all as `total`; tied ones count once."""
    counts = dict.fromkeys([*KINDS, "total"], 0)
    seen: set[int] = set()
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            counts["total"] += parameter.numel()
            for kind, classes in KINDS.items():
                # transformers' own linear layer of GPT-2 is called Conv1D
                if isinstance(module, classes) or (kind == "linear" and type(module).__name__ == "Conv1D"):
                    counts[kind] += parameter.numel()
    return counts
