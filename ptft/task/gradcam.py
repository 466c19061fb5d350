"""Grad-CAM (Selvaraju and others, arXiv 1610.02391): where in a picture the evidence for the predicted class lies.

The channels of a late feature map are weighted by the mean gradient of the class's logit (equation 1) and added up;
what speaks against the class is cut off (equation 2). The map is the output of the last block, as told by `parts()`,
that has a map and a gradient. A convolutional net gives (B, C, H, W); a net of windows (Swin) may give (B, H, W, C);
the tokens (B, T, D) of a vision transformer are laid out as the grid of patches, without those before it. The last
block of a transformer often reaches the head through its class token alone; its patches have no gradient then, and the
block before it is taken.

Left out: guided backpropagation, other targets than the predicted class.
Legend: B batch, C channels, H height, W width, T tokens, D width of a token.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model.parts import HasParts, parts_of

_MOST_EXTRA = 8
"""Tokens that may stand before the patches: class, distillation, registers."""


def grad_cam(model: nn.Module, image: Tensor) -> Tensor:
    """Return the heat of each picture for the class that the model predicts: (B, H, W) float32 in [0, 1], on the CPU.

    Each map is divided by its largest value; one without any positive evidence is 0 everywhere. The model must be in
    evaluation mode; nothing of it is changed.

    Args:
        model: Maps images to logits and tells its parts.
        image: (B, C, H, W) normalised.

    Raises:
        ConfigError: The model does not tell its parts, or none of its blocks gives a map that the prediction rests on.
    """
    if not isinstance(model, HasParts):
        raise ConfigError(
            f"evaluate.explain=gradcam needs a model that tells its parts; {type(model).__name__} does not"
        )
    size = (image.shape[2], image.shape[3])
    with torch.enable_grad(), _kept_outputs(model) as outputs:
        # With an input that needs a gradient, a frozen model has one too.
        logits = model(image.detach().float().requires_grad_(True))
        chosen = logits.gather(1, logits.argmax(dim=1, keepdim=True)).sum()
        for output in reversed(outputs):
            if _as_map(output, size) is None:
                continue
            (gradient,) = torch.autograd.grad(chosen, output, retain_graph=True, allow_unused=True)
            found = _as_map(gradient, size) if gradient is not None else None
            features = _as_map(output, size)
            if found is not None and features is not None and bool((found != 0).any()):
                return _heat(features.detach(), found, size)
    raise ConfigError(
        f"evaluate.explain=gradcam: no block of {type(model).__name__} gives a feature map, or a grid of patches, of "
        "more than one place that its prediction rests on; choose a convolutional model or a vision transformer"
    )


def _heat(features: Tensor, gradient: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the weighted sum of maps (B, C, h, w), cut off at 0, stretched over the picture: (B, H, W)."""
    weights = gradient.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    heat = (weights * features).sum(dim=1, keepdim=True).relu()
    heat = F.interpolate(heat.float(), size=size, mode="bilinear", align_corners=False)[:, 0]
    most = heat.amax(dim=(1, 2), keepdim=True)
    return torch.where(most > 0, heat / most, 0.0).cpu()


@contextmanager
def _kept_outputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what the blocks of a model give while the block runs, in the order they are called."""
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
        first, *rest = output if isinstance(output, tuple) else (output,)
        if not isinstance(first, Tensor) or not first.requires_grad:
            return None
        outputs.append(first)
        copy = first.clone()  # what follows may change it in place
        return (copy, *rest) if isinstance(output, tuple) else copy

    modules = dict(model.named_modules())
    names = [name for block in parts_of(model).blocks for name in block if name in modules]
    handles = [modules[name].register_forward_hook(keep) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _as_map(output: Tensor, size: tuple[int, int]) -> Tensor | None:
    """Return an output as a map (B, C, h, w) of more than one place, or None where it is none."""
    if output.ndim == 4:
        first = _is_grid(output.shape[2], output.shape[3], size)
        last = _is_grid(output.shape[1], output.shape[2], size)
        laid_out = output if first or not last else output.permute(0, 3, 1, 2)
        return laid_out if laid_out.shape[2] * laid_out.shape[3] > 1 else None
    if output.ndim != 3:
        return None
    for extra in range(_MOST_EXTRA + 1):
        grid = _grid_of(output.shape[1] - extra, size)
        if grid is not None:
            return output[:, extra:].transpose(1, 2).reshape(len(output), -1, *grid)  # (B, D, h, w)
    return None


def _is_grid(height: int, width: int, size: tuple[int, int]) -> bool:
    """Tell whether a grid has the shape of the picture, up to rounding, and is no larger."""
    return height <= size[0] and width <= size[1] and abs(height / width - size[0] / size[1]) < max(1 / width, 1e-6)


def _grid_of(tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the rows and columns of a grid of so many square patches over a picture; None where there is none."""
    if tokens < 2:
        return None
    height = round((tokens * size[0] / size[1]) ** 0.5)
    if height == 0 or tokens % height:
        return None
    width = tokens // height
    return (height, width) if height * size[1] == width * size[0] else None
