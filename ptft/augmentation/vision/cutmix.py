"""CutMix (Yun and others, arXiv 1905.04899): a rectangle of an image is replaced by that of another one."""

import torch

from ptft.augmentation.augmentation import Batch
from ptft.augmentation.vision.cutout import within
from ptft.augmentation.vision.mixing import pair
from ptft.runtime.random import Draws
from ptft.types import PositiveFloat, UnitFloat


class CutMix:
    """Pastes a rectangle of another image of the batch; the labels are weighted by the pixels that each one has.

    Each image has a rectangle of its own, where the authors' code draws one for the whole batch.
    """

    mixes_labels = True

    def __init__(self, *, alpha: PositiveFloat = 1.0, probability: UnitFloat = 1.0) -> None:
        """Keep the settings.

        Args:
            alpha: The rectangle covers 1 - x of the image, x from Beta(alpha, alpha), less what is over the edge.
            probability: How often an image that is not mixed yet is mixed.
        """
        self.alpha = alpha
        self.probability = probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with pasted rectangles, its type kept, `partner_label` and `label_share`."""
        image = batch["image"]
        height, width = image.shape[-2:]
        pairs = pair(batch, draws, 0, self.probability)
        side = (1 - draws.beta(2, self.alpha)).sqrt_()  # as a share of the image's sides
        high, wide = (side * height).long(), (side * width).long()
        # The centre may be any pixel, so that the rectangle may reach over the edge.
        top, left = draws.integers(3, height) - high // 2, draws.integers(4, width) - wide // 2
        pasted = within(image, top, left, high, wide) & pairs.chosen[:, None, None]  # (B, H, W)
        share = 1 - pasted.sum((1, 2)) / (height * width)
        image = torch.where(pasted[:, None], image.index_select(0, pairs.partner), image)
        return pairs.mixed(batch, image, share)
