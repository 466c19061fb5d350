"""Low-rank updates inside the layers of a model, by peft, and how they are merged.

peft wraps a layer and adds B A x to what it computes. Two things it leaves to be done here (peft 0.21):

- Some models read the weight of a linear layer and never call the layer (torchvision's Swin, torch's own attention).
  Its update would then do nothing and get no gradient. `LowRankLinear.weight` is therefore W + B A.
- Its own layer for torch's MultiheadAttention adds the update of the output projection twice, and moves the frozen
  weights by a rounding error at each forward pass. Here the input projection is a parametrized weight, and the output
  projection a linear layer like any other.
"""

import math
import re
from collections.abc import Collection

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.nn.utils import parametrize

ADAPTER = "default"
"""The name peft gives to an only adapter."""
PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Weights that MultiheadAttention holds itself; those that are None are not there."""


class LowRankLinear(Linear):
    """peft's linear layer, whose weight can be read in place of calling it."""

    @property
    def weight(self) -> Tensor:
        """The weight with its update, (out, in); dropout, which belongs to the input, is left out."""
        weight = self.get_base_layer().weight
        assert isinstance(weight, Tensor)
        if self.merged or ADAPTER not in self.lora_B:
            return weight
        return weight + self.get_delta_weight(ADAPTER)


class LowRankWeight(nn.Module):
    """Adds B A * alpha / rank to a weight (out, in); B starts at 0, A as peft's does."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.lora_B = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its update."""
        return weight + self.lora_B @ self.lora_A * self.scaling


def inject(model: nn.Module, names: Collection[str], *, rank: int, alpha: float, dropout: float) -> None:
    """Add a low-rank update to the named layers, in place; it starts at 0, so the model computes what it did.

    Args:
        model: The model.
        names: Full names of linear layers, convolutions and MultiheadAttentions.
        rank: Rank of the updates.
        alpha: The update counts alpha / rank times.
        dropout: Share of a layer's input that its update does not see, where the layer is called.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    attentions = [name for name in names if isinstance(model.get_submodule(name), nn.MultiheadAttention)]
    if layers := [re.escape(name) for name in names if name not in attentions]:
        turned = any(type(model.get_submodule(name)).__name__ == "Conv1D" for name in names)  # GPT-2's: (in, out)
        config = LoraConfig(r=rank, lora_dropout=dropout, target_modules=f"({'|'.join(layers)})", fan_in_fan_out=turned)
        config.lora_alpha = alpha  # type: ignore[assignment]  # annotated as int, used as a number
        config._register_custom_module({nn.Linear: LowRankLinear})
        inject_adapter_in_model(config, model, ADAPTER)
    for name in attentions:
        attention = model.get_submodule(name)
        for projection in PROJECTIONS:
            if (weight := getattr(attention, projection, None)) is not None:
                parametrize.register_parametrization(attention, projection, LowRankWeight(weight, rank, alpha))
    for parameter in trained:  # peft froze them; what is frozen is the adaptation's to say
        parameter.requires_grad_(True)


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add every update to the weight it belongs to and take it out, in place: the names are plain ones again.

    However the weights lay before, the sums are worked out in one order, and the result lies contiguous.
    """
    model.to(memory_format=torch.contiguous_format)  # products of convolutions round by their layout
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, module.get_base_layer())
        elif parametrize.is_parametrized(module):
            for projection in PROJECTIONS:
                if parametrize.is_parametrized(module, projection):
                    parametrize.remove_parametrizations(module, projection, leave_parametrized=True)
    vars(model).pop("peft_config", None)
