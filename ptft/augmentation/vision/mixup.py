"""Mixup (Zhang, Cisse, Dauphin and Lopez-Paz, arXiv 1710.09412): an image and a share of another one."""

import torch

from ptft.augmentation.augmentation import Batch, to_float
from ptft.augmentation.vision.mixing import pair
from ptft.runtime.random import Draws
from ptft.types import PositiveFloat, UnitFloat


class Mixup:
    """Blends images of the batch, each with one other; the labels are weighted by the same shares.

    Each image has a share of its own, where the authors' code draws one for the whole batch.
    """

    mixes_labels = True

    def __init__(self, *, alpha: PositiveFloat = 0.2, probability: UnitFloat = 1.0) -> None:
        """Keep the settings.

        Args:
            alpha: Shares are drawn from Beta(alpha, alpha): near 0 mostly close to 0 or 1, at 1 any, above 1 close to
                one half.
            probability: How often an image that is not mixed yet is mixed.
        """
        self.alpha = alpha
        self.probability = probability

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with blended images, as float32 in [0, 1], `partner_label` and `label_share`."""
        pairs = pair(batch, draws, 0, self.probability)
        share = draws.beta(2, self.alpha).where(pairs.chosen, 1.0)
        image = to_float(batch["image"])
        # Where the share is 1, lerp gives the image itself to the bit.
        image = torch.lerp(image.index_select(0, pairs.partner), image, share[:, None, None, None])
        return pairs.mixed(batch, image, share)
