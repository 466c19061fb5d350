"""Images as rows of square patches, and where each patch lies.

Legend: B batch, C channels, H height, W width, P side of a patch, N = (H / P) * (W / P) patches row by row, D width.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ptft.errors import ConfigError
from ptft.model.spec import ModelSpec, image_shape


@runtime_checkable
class EncodesPatches(Protocol):
    """A network that turns patches into tokens and encodes any number of them."""

    grid: tuple[int, int]
    """Patches below and beside each other."""
    patch_size: int
    """Side of a patch in pixels."""

    def embed(self, image: Tensor) -> Tensor:
        """Map images (B, C, H, W) to tokens that know their position: (B, N, D)."""
        ...

    def encode(self, tokens: Tensor) -> Tensor:
        """Map some of these tokens (B, M, D) to encoded ones behind a class token: (B, 1 + M, D)."""
        ...


def patch_rows_and_columns(spec: ModelSpec, patch_size: int) -> tuple[int, int]:
    """Return how many patches lie below and beside each other in one image.

    Raises:
        ConfigError: The examples are not images, or a side is not divisible by `patch_size`.
    """
    _, height, width = image_shape(spec)
    if height % patch_size or width % patch_size:
        fitting = [size for size in range(2, min(height, width) // 2 + 1) if height % size == 0 == width % size]
        choices = f"choose one of {', '.join(map(str, fitting))}, or " if fitting else ""
        raise ConfigError(
            f"model.patch_size={patch_size} does not divide images of {height}x{width}; {choices}another size of images"
        )
    return height // patch_size, width // patch_size


def to_patches(image: Tensor, patch_size: int) -> Tensor:
    """Cut images (B, C, H, W) into rows of patches (B, N, C * P * P), each with its channels one after the other."""
    batch, channels, height, width = image.shape
    rows, columns = height // patch_size, width // patch_size
    cells = image.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size**2)


def from_patches(patches: Tensor, shape: tuple[int, ...], patch_size: int) -> Tensor:
    """Put patches (B, N, C * P * P) together to images (B, C, H, W), where `shape` is (C, H, W)."""
    channels, height, width = shape
    rows, columns = height // patch_size, width // patch_size
    cells = patches.reshape(len(patches), rows, columns, channels, patch_size, patch_size)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), channels, height, width)


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return sines and cosines of each patch's place: (N, width) float32 in [-1, 1].

    Half of the numbers tell the column and half the row, as in arXiv 2111.06377 (its code; the sines of one dimension
    are those of arXiv 1706.03762, section 3.5). What does not fill a multiple of 4 stays 0.
    """
    quarter = width // 4
    frequencies = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / max(quarter, 1))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten().double()[:, None] * frequencies for place in (column, row)]  # (N, width / 4) each
    waves = [wave for angle in angles for wave in (angle.sin(), angle.cos())]
    positions = torch.zeros(rows * columns, width)
    positions[:, : 4 * quarter] = torch.cat(waves, dim=1).float()
    return positions
