"""Partners within a batch, for steps that mix two images and their labels.

A step that mixes sets `mixes_labels = True` and adds to the batch `partner_label` (B,) int64 and `label_share` (B,)
float32, the share of the image's own label. An image is mixed once at most: what an earlier step has mixed is left
alone and is nobody's partner, so that several such steps in a row share the images between them.

Partners come from the batch given, which with several processes is this process's part of the global one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ptft.augmentation.augmentation import Batch
from ptft.runtime.random import Draws


@dataclass(frozen=True)
class Pairs:
    """Who is mixed with whom.

    Attributes:
        chosen: (B,) bool: the images to mix.
        partner: (B,) int64: the place of each image's partner; its own where no other is free.
    """

    chosen: Tensor
    partner: Tensor

    def mixed(self, batch: Batch, image: Tensor, share: Tensor) -> Batch:
        """Return the batch with mixed images and what the loss must know of their labels.

        Args:
            batch: The batch before.
            image: (B, C, H, W) after mixing.
            share: (B,) float32: share of its own in each image; only that of chosen ones is read.
        """
        label: Tensor = batch["label"]
        before_label: Tensor = batch.get("partner_label", label)
        before_share: Tensor = batch.get("label_share", torch.ones_like(share))
        return {
            **batch,
            "image": image,
            "partner_label": torch.where(self.chosen, label.index_select(0, self.partner), before_label),
            "label_share": torch.where(self.chosen, share, before_share),
        }


def pair(batch: Batch, draws: Draws, slot: int, probability: float) -> Pairs:
    """Choose images to mix, each with a probability, and a partner for each.

    The free images form one circle in an order drawn by hashes, in which each one's partner is the next: so each is
    the partner of one other at most, and its own only when it is alone.

    Args:
        batch: With `label` (B,); images with a `label_share` below 1 are not free.
        draws: Draws of the B examples.
        slot: This slot and the next one are used.
        probability: How often a free image is mixed.
    """
    label = batch["label"]
    free = batch["label_share"] == 1 if "label_share" in batch else torch.ones_like(label, dtype=torch.bool)
    key = (draws.bits(slot) >> 1).bitwise_and_((1 << 62) - 1)
    order = torch.where(free, key, 1 << 62).argsort(stable=True)  # the free ones come first
    places = torch.arange(len(label), device=label.device)
    following = torch.where(places + 1 < free.sum(), places + 1, 0)
    partner = torch.empty_like(places).scatter_(0, order, order.index_select(0, following))
    chosen = free & (draws.uniform(slot + 1) < probability)
    return Pairs(chosen, torch.where(free, partner, places))
