"""Random loss of colour, as in SimCLR (arXiv 2002.05709, appendix A)."""

import torch

from ptft.augmentation.augmentation import Batch
from ptft.augmentation.vision.colour import to_grey
from ptft.runtime.random import Draws
from ptft.types import UnitFloat


class RandomGrayscale:
    """Turns colour images grey, each with a probability; they keep their three channels."""

    def __init__(self, *, probability: UnitFloat = 0.2) -> None:
        """Keep the settings.

        Args:
            probability: How often an image is turned grey.
        """
        self.probability = probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with some of its images grey, of the same type; bytes are rounded."""
        image = batch["image"]
        if image.shape[1] != 3:
            return batch
        grey = to_grey(image.to(torch.float32))
        grey = grey.round_().to(torch.uint8) if image.dtype == torch.uint8 else grey
        chosen = draws.uniform(0) < self.probability
        return {**batch, "image": torch.where(chosen[:, None, None, None], grey, image)}
