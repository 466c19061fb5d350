"""Unstructured pruning: the smallest weights become 0 while training goes on (Zhu and Gupta, arXiv 1710.01878).

Zeros make files smaller once they are compressed; a runtime multiplies by them as by any number.
"""

from collections.abc import Sequence
from typing import Literal

from ptft.compression.cost import count_zeros
from ptft.compression.sparsity_schedule import GradualPruning, Masks, prunable_weights
from ptft.compression.step import Edit, NetworkStep, Workshop
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.task.task import Task
from ptft.types import DurationText, PositiveInt, UnitFloat


class PruneMagnitude(NetworkStep):
    """Prunes single weights gradually; norms, biases, shared weights and recurrent layers stay as they are."""

    undone_by_training = True

    def __init__(
        self,
        *,
        sparsity: UnitFloat = 0.8,
        duration: DurationText = "5ep",
        update_every: PositiveInt = 50,
        begin: UnitFloat = 0.0,
        end: UnitFloat = 0.75,
        scope: Literal["global", "layer"] = "global",
        exclude: list[str] | None = None,
    ) -> None:
        """Keep the settings.

        Args:
            sparsity: Share of the weights that are 0 at the end.
            duration: Training while zeros appear, and after.
            update_every: Steps between two prunings.
            begin: Share of the duration after which pruning begins.
            end: Share of the duration after which the sparsity is reached.
            scope: Whether the smallest weights of all layers go, or as large a share of each layer.
            exclude: Regular expressions, found anywhere in a weight's name, of those that stay; null: none.
        """
        self.sparsity, self.duration, self.update_every = sparsity, duration, update_every
        self.begin, self.end, self.scope, self.exclude = begin, end, scope, tuple(exclude or ())

    def check(self, task: Task, spec: DataSpec) -> None:
        """Look for weights to prune.

        Raises:
            ConfigError: There are none, none would be left, or pruning would end before it begins.
        """
        if self.sparsity == 1:
            raise ConfigError("prune_magnitude: sparsity=1 leaves no weight; take less, such as 0.8")
        if self.begin >= self.end:
            raise ConfigError(
                f"prune_magnitude: begin={self.begin:g} must lie before end={self.end:g}, shares of the duration"
            )
        network = task.get_submodule("model")
        if not prunable_weights(network, self.exclude):
            raise ConfigError(
                f"prune_magnitude: {type(network).__name__} has no weights but those that exclude={list(self.exclude)} "
                "names, that are shared, or that belong to recurrent layers; leave the step out"
            )

    def apply(self, task: Task, workshop: Workshop) -> Sequence[Edit]:
        """Train while the masks tighten, then with the masks as they are; the network keeps its modules."""
        network = task.get_submodule("model")
        masks = Masks(network, self.exclude, self.scope)
        steps = workshop.steps(self.duration)
        begin, end = round(self.begin * steps), max(round(self.end * steps), 1)
        hook = GradualPruning(masks, target=self.sparsity, begin=min(begin, end - 1), end=end, every=self.update_every)
        masks.put_on()
        # The best weights may be earlier ones, of less sparsity.
        workshop.recover(task, f"{end}st", [hook], part="sparsify", keep="last")
        masks.tighten(self.sparsity)
        if steps > end:
            workshop.recover(task, f"{steps - end}st", part="settle")
        masks.take_off()
        zeros, total = count_zeros(network)
        workshop.say(
            f"{zeros:,} of {total:,} weights are 0 ({zeros / total:.1%}). Zeros alone give no speed: only compressed "
            "files (zip) become smaller"
        )
        return []
