"""Drops whole layers of a transformer; the student that is left begins with the teacher's own weights.

As DistilBERT (Sanh and others, arXiv 1910.01108) and the small MiniLMs begin: layers spread evenly, the first and the
last among them. The recovery learns from the whole network.
"""

import math
from collections.abc import Sequence

from ptft.compression.attention_layers import config_of
from ptft.compression.layer_parts import layer_row
from ptft.compression.step import Edit, NetworkStep, Workshop
from ptft.compression.structure import apply_edits
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.task.task import Task
from ptft.types import DurationText, NonNegativeInt, PositiveInt


class DropLayers(NetworkStep):
    """Keeps some layers of a row of like ones."""

    def __init__(
        self,
        *,
        keep: PositiveInt = 3,
        layers: list[NonNegativeInt] | None = None,
        recover: DurationText | None = "3ep",
    ) -> None:
        """Set which layers stay.

        Args:
            keep: How many, spread evenly: layer round(i (L - 1) / (keep - 1)) of L for i = 0 ... keep - 1, of two
                equally near the lower. 12 to 6: 0, 2, 4, 7, 9, 11; 6 to 3: 0, 2, 5. One alone is the first.
            layers: Which ones instead, counted from 0; None: as `keep` says.
            recover: How long to train afterwards; None: not at all.
        """
        self.keep = keep
        self.layers = layers
        self.recover = recover

    def check(self, task: Task, spec: DataSpec) -> None:
        """Find networks without a row of like layers, and a choice that drops none.

        Raises:
            ConfigError: There is no such row, or the settings do not fit its length.
        """
        network = task.get_submodule("model")
        _, count = layer_row(network)
        config = config_of(network)
        if config is not None and getattr(config, "scale_attn_by_inverse_layer_idx", False):
            raise ConfigError("the layers of this GPT-2 are scaled by their place, so none can be dropped")
        if config is not None and len(set(getattr(config, "layer_types", None) or ())) > 1:
            raise ConfigError(f"the layers of `{config.model_type}` are not alike, so none can be dropped")
        if self.layers is None and self.keep >= count:
            raise ConfigError(f"drop_layers.keep={self.keep} drops nothing: the network has {count} layers; keep fewer")
        if self.layers is not None:
            wrong = sorted(set(self.layers)) != self.layers or not self.layers or self.layers[-1] >= count
            if wrong or len(self.layers) == count:
                raise ConfigError(
                    f"drop_layers.layers={self.layers}: expected some of the layers 0 to {count - 1}, rising, not all"
                )

    def apply(self, task: Task, workshop: Workshop) -> Sequence[Edit]:
        """Drop the layers, train, and return the edit."""
        network = task.get_submodule("model")
        name, count = layer_row(network)
        keep = list(self.layers) if self.layers is not None else spread(count, self.keep)
        config = config_of(network)
        changes = {} if config is None else {config.attribute_map.get(DEPTH, DEPTH): len(keep)}
        edit = {"kind": "layers", "layers": name, "keep": keep, "config": changes}
        apply_edits(network, [edit])
        workshop.say(f"kept the layers {', '.join(map(str, keep))} of {count}")
        if self.recover is not None:
            workshop.recover(task, self.recover)
        return [edit]


DEPTH = "num_hidden_layers"
"""What configs of transformers call the number of layers, or map to their own word for it."""


def spread(count: int, keep: int) -> list[int]:
    """Return `keep` of `count` places, spread evenly from the first to the last; one alone is the first."""
    if keep == 1:
        return [0]
    return [math.ceil(place * (count - 1) / (keep - 1) - 0.5) for place in range(keep)]
