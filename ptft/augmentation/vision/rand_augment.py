"""RandAugment (Cubuk, Zoph, Shlens and Le, arXiv 1909.13719): a few random operations of one common strength.

At each turn the batch is divided by the operation that each image drew, and every operation changes its part at once;
rotations, shears and shifts are matrices and share one resampling. Images are kept as bytes between the turns.
"""

import math
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ptft.augmentation.augmentation import Batch
from ptft.augmentation.vision.colour import adjust_brightness, adjust_contrast, adjust_saturation
from ptft.augmentation.vision.pieces import in_pieces
from ptft.augmentation.vision.tone import adjust_sharpness, auto_contrast, equalize, posterize, solarize
from ptft.errors import ConfigError
from ptft.runtime.random import Draws
from ptft.types import Magnitude, PositiveInt

FULL = 30.0
"""The magnitude at which an operation has its full strength, as in the paper."""
Operation = Literal[
    "identity", "auto_contrast", "equalize", "rotate", "solarize", "colour", "posterize", "contrast", "brightness",
    "sharpness", "shear_x", "shear_y", "shift_x", "shift_y",
]  # fmt: skip
MOVING = ("rotate", "shear_x", "shear_y", "shift_x", "shift_y")
SHIFT = 150 / 331
"""Largest shift as a share of the side: 150 pixels of 331, as in AutoAugment (arXiv 1805.09501)."""


class RandAugment:
    """Applies random operations to each image, all of one magnitude, the direction of each drawn as well.

    At the full magnitude of 30: `rotate` by 30 degrees; `shear_x`, `shear_y` by 0.3; `shift_x`, `shift_y` by 45% of the
    side; `colour` (the saturation), `contrast`, `brightness` and `sharpness` by the factors 0.1 or 1.9; `posterize` to
    4 bits; `solarize` all values. `identity`, `auto_contrast` and `equalize` have no strength. What comes in from
    outside is black. Colour does nothing to grey images.
    """

    def __init__(
        self,
        *,
        num_operations: PositiveInt = 2,
        magnitude: Magnitude = 9.0,
        operations: tuple[Operation, ...] = (
            "identity", "auto_contrast", "equalize", "rotate", "solarize", "colour", "posterize", "contrast",
            "brightness", "sharpness", "shear_x", "shear_y", "shift_x", "shift_y",
        ),
    ) -> None:  # fmt: skip
        """Keep the settings.

        Args:
            num_operations: Operations applied to each image, one after the other; the same one may come twice.
            magnitude: Their strength, from 0 to 30.
            operations: The operations drawn from.

        Raises:
            ConfigError: There is no operation.
        """
        if not operations:
            raise ConfigError("operations is empty; name at least one, or leave this step out")
        self.num_operations = num_operations
        self.magnitude = magnitude
        self.operations = tuple(operations)

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its images changed, as uint8; floats are rounded to 256 values first."""
        image = batch["image"]
        image = image if image.dtype == torch.uint8 else (image * 255).round_().to(torch.uint8)
        # The one place that waits for a device: which images share an operation decides the shapes of all that follows.
        numbers = draws.integers(0, len(self.operations), self.num_operations).cpu()  # (B, turns)
        signs = draws.integers(1, 2, self.num_operations).cpu() * 2 - 1  # -1 or 1
        for turn in range(self.num_operations):
            image = self._turn(image, [self.operations[number] for number in numbers[:, turn].tolist()], signs[:, turn])
        return {**batch, "image": image}

    def _turn(self, image: Tensor, names: list[Operation], signs: Tensor) -> Tensor:
        """Apply to each image the operation of its name, in the direction of its sign."""
        changed = image.clone()
        parts: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            parts.setdefault("move" if name in MOVING else name, []).append(place)
        parts.pop("identity", None)
        for kind, places in parts.items():
            rows = torch.tensor(places, device=image.device)
            strength = signs[places] * (self.magnitude / FULL)
            if kind == "move":
                matrices = _matrices([names[place] for place in places], strength, *image.shape[-2:])
                changed[rows] = in_pieces(move, image[rows], matrices.to(image.device))
            else:
                changed[rows] = in_pieces(partial(_change, kind), image[rows], strength.to(image.device))
        return changed


def _change(name: str, image: Tensor, strength: Tensor) -> Tensor:
    """Apply one operation that moves nothing to images, (B, C, H, W) uint8, at strengths (B,) in [-1, 1]."""
    share = strength.abs()
    if name == "auto_contrast":
        return auto_contrast(image)
    if name == "equalize":
        return equalize(image)
    if name == "solarize":
        return solarize(image, 256 * (1 - share))
    if name == "posterize":
        return posterize(image, 8 - (4 * share).round().long())
    factor = 1 + 0.9 * strength
    if name == "sharpness":
        return adjust_sharpness(image, factor)
    adjust = {"colour": adjust_saturation, "contrast": adjust_contrast, "brightness": adjust_brightness}[name]
    return adjust(image.float().div_(255), factor).mul_(255).round_().to(torch.uint8)


def _matrices(names: list[Operation], strength: Tensor, height: int, width: int) -> Tensor:
    """Return where the pixels of moved images come from: (B, 2, 3) on the CPU, in pixels from the image's middle.

    Shears keep the upper left corner where it is, as in the authors' code.
    """
    matrices = torch.eye(2, 3).repeat(len(names), 1, 1)
    for matrix, name, by in zip(matrices, names, strength.tolist(), strict=True):
        if name == "rotate":
            angle = math.radians(30 * by)
            matrix[:, :2] = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        elif name == "shear_x":
            matrix[0, 1], matrix[0, 2] = 0.3 * by, 0.3 * by * height / 2
        elif name == "shear_y":
            matrix[1, 0], matrix[1, 2] = 0.3 * by, 0.3 * by * width / 2
        elif name == "shift_x":
            matrix[0, 2] = SHIFT * by * width
        else:
            matrix[1, 2] = SHIFT * by * height
    return matrices


def move(image: Tensor, matrices: Tensor) -> Tensor:
    """Return images moved by one bilinear resampling each, black outside.

    Args:
        image: (B, C, H, W) uint8.
        matrices: (B, 2, 3): where each pixel comes from, (x, y) in pixels from the image's middle.
    """
    height, width = image.shape[-2:]
    # torch's grids run from -1 to 1 over each side.
    half = matrices.new_tensor([width / 2, height / 2])
    scaled = matrices / half[:, None] * torch.cat([half, half.new_ones(1)])
    grid = F.affine_grid(scaled, list(image.shape), align_corners=False)
    moved = F.grid_sample(image.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.round_().to(torch.uint8)
