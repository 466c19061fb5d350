"""Colour jitter: random brightness, contrast, saturation and hue, as in SimCLR (arXiv 2002.05709, appendix A)."""

import torch
from torch import Tensor

from ptft.augmentation.augmentation import Batch, to_float
from ptft.augmentation.vision.colour import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from ptft.augmentation.vision.pieces import in_pieces
from ptft.runtime.random import Draws
from ptft.types import HueShift, NonNegativeFloat, UnitFloat


class ColourJitter:
    """Changes brightness, contrast, saturation and hue of each image by factors of its own, in this order.

    The order is fixed, where torchvision draws one. Grey images have neither saturation nor hue: those two do nothing.
    """

    def __init__(
        self,
        *,
        brightness: NonNegativeFloat = 0.4,
        contrast: NonNegativeFloat = 0.4,
        saturation: NonNegativeFloat = 0.4,
        hue: HueShift = 0.1,
        probability: UnitFloat = 1.0,
    ) -> None:
        """Keep the settings.

        Args:
            brightness: Factors are drawn from [max(0, 1 - brightness), 1 + brightness]; 0: brightness stays.
            contrast: The same for the contrast.
            saturation: The same for the saturation.
            hue: Largest shift of the hue either way, in turns of the colour circle.
            probability: How often an image is changed.
        """
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.probability = probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its colours changed, as float32 in [0, 1]."""
        image = batch["image"]
        chosen = draws.uniform(4) < self.probability
        ranges = [self.brightness, self.contrast, self.saturation]
        factors = [draws.uniform(slot, low=max(0.0, 1 - by), high=1 + by) for slot, by in enumerate(ranges)]
        # A factor of 1 and a shift of 0 change nothing.
        factors = [torch.where(chosen, factor, 1.0) for factor in factors]
        shift = torch.where(chosen, draws.uniform(3, low=-self.hue, high=self.hue), 0.0)
        return {**batch, "image": in_pieces(self._change, image, *factors, shift)}

    def _change(self, image: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, shift: Tensor) -> Tensor:
        image = to_float(image)
        if self.brightness:
            image = adjust_brightness(image, brightness)
        if self.contrast:
            image = adjust_contrast(image, contrast)
        if self.saturation:
            image = adjust_saturation(image, saturation)
        return adjust_hue(image, shift) if self.hue else image
