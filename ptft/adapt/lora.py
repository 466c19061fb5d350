"""LoRA: each chosen layer learns a low-rank update of its frozen weight (Hu and others, arXiv 2106.09685).

The head is trained in full, with the neck before it; everything else stands still, batch-norm statistics too. Once the
training is over the updates are written to `adapter/` as peft reads them, and added to the weights, so that `model/`
holds a plain model.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from torch import nn

from ptft.adapt.adapt import FROZEN, Adapt, freeze, parts_for
from ptft.errors import ConfigError
from ptft.model.parts import belongs
from ptft.types import DropRate, PositiveFloat, PositiveInt

MARK = ".lora_"
"""What the names of low-rank parameters hold, and no others."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Lora(Adapt):
    """Train low-rank updates of the model's layers, and the head."""

    def __init__(
        self,
        *,
        rank: PositiveInt = 8,
        alpha: PositiveFloat = 16.0,
        dropout: DropRate = 0.0,
        targets: Literal["auto"] | tuple[str, ...] = "auto",
    ) -> None:
        """Choose the layers and the size of their updates.

        Args:
            rank: Rank of each update.
            alpha: The update counts alpha / rank times.
            dropout: Share of a layer's input that its update does not see.
            targets: Patterns of layer names, as `encoder.*.mlp.*`; auto: of each block its linear and attention layers,
                or where it has none its convolutions.
        """
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets

    def structure(self, model: nn.Module) -> None:
        """Add the updates to the chosen layers; they start at 0.

        Raises:
            ConfigError: The model does not tell its parts, or no layer is chosen.
        """
        names = self._chosen(model)
        from ptft.adapt.low_rank import inject  # peft takes seconds to import

        inject(model, names, rank=self.rank, alpha=self.alpha, dropout=self.dropout)

    def apply(self, model: nn.Module) -> None:
        """Freeze all but the updates and the head."""
        top = parts_for(model, "lora").top
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        frozen = {name for name in names if MARK not in name and not any(belongs(name, unit) for unit in top)}
        freeze(model, lambda name: name in frozen)
        for name, module in model.named_modules():
            # One without weights has nothing frozen in it, but its statistics would move.
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(belongs(name, unit) for unit in top):
                setattr(module, FROZEN, True)
                module.eval()

    def write(self, model: nn.Module, folder: Path, base: str) -> str:
        """Write the updates, with neck and head, as an adapter that peft loads."""
        from ptft.adapt.adapter import write_adapter

        settings = {"r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout}
        if write_adapter(model, folder, settings, base):
            return f"adapter for peft in {folder}"
        return "no adapter/ was written: peft knows no updates of torch's MultiheadAttention; model/ holds them merged"

    def merge(self, model: nn.Module) -> None:
        """Add the updates to the weights."""
        from ptft.adapt.low_rank import merge

        merge(model)

    def _chosen(self, model: nn.Module) -> list[str]:
        parts = parts_for(model, "lora")
        layers = model.named_modules()
        fitting = [n for n, layer in layers if _fits(layer) and not any(belongs(n, unit) for unit in parts.top)]
        if self.targets != "auto":
            return [name for name in fitting if name in set(self._matched(fitting, model))]
        names = [name for block in parts.blocks for name in _of_block(model, fitting, block)]
        if not names:
            raise ConfigError(
                f"adapt.targets=auto: the blocks of {type(model).__name__} hold no linear layer, attention or "
                "convolution; name layers with adapt.targets=[...], or use adapt=full"
            )
        return names

    def _matched(self, fitting: list[str], model: nn.Module) -> Iterator[str]:
        for pattern in self.targets:
            found = [name for name in fitting if fnmatchcase(name, pattern)]
            if not found:
                named = [name for name, _ in model.named_modules() if name and fnmatchcase(name, pattern)]
                why = f"only what LoRA does not apply to ({', '.join(named[:3])})" if named else "no layer"
                near = get_close_matches(pattern, fitting, n=3, cutoff=0.4) or fitting[:3]
                raise ConfigError(
                    f"adapt.targets: `{pattern}` matches {why}; it takes linear layers, attentions and convolutions "
                    f"(without groups or dilation) below the head, such as {', '.join(near)}"
                )
            yield from found


def _of_block(model: nn.Module, fitting: list[str], block: tuple[str, ...]) -> list[str]:
    """Return the linear layers and attentions of a block, or its convolutions if there are none."""
    inside = [name for name in fitting if any(belongs(name, prefix) for prefix in block)]
    convolutions = [name for name in inside if isinstance(model.get_submodule(name), _CONVOLUTIONS)]
    return [name for name in inside if name not in convolutions] or convolutions


def _fits(layer: nn.Module) -> bool:
    """Tell whether a layer can learn a low-rank update that merges: peft drops a convolution's groups and dilation."""
    if isinstance(layer, _CONVOLUTIONS):
        return layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    # transformers' Conv1D, in GPT-2, is a linear layer by another name.
    return isinstance(layer, nn.Linear | nn.MultiheadAttention) or type(layer).__name__ == "Conv1D"
