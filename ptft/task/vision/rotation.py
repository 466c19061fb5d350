"""Rotation prediction (Gidaris, Singh and Komodakis, arXiv 1803.07728): tell by how much an image was turned.

Each image is seen turned by 0, 90, 180 and 270 degrees in the same batch, as in the paper; no labels are needed.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import ConfigError
from ptft.loss.cross_entropy import cross_entropy_sum
from ptft.metric.bootstrap import Interval, mean_intervals, paired_difference
from ptft.metric.classification import ClassificationMetrics
from ptft.metric.neighbours import NeighbourMetrics, Neighbours
from ptft.model.parts import feature_dim, replace_head
from ptft.task.exhibit import Exhibit, label_exhibits
from ptft.task.task import ExportSpec, MetricSpec, Outputs, Records, StepOutput
from ptft.task.vision.features import FeatureHead, WatchedByNeighbours, check_parts, encoder_export
from ptft.types import NonNegativeInt, PositiveInt

DEGREES = ("0", "90", "180", "270")


class RotationMetrics:
    """Metrics of four-way classification, and the nearest-neighbour accuracy of the upright images' features."""

    def __init__(self, neighbours: Neighbours | None) -> None:
        """Start an evaluation; without `neighbours` their accuracy is left out."""
        self.rotations = ClassificationMetrics(DEGREES)
        self.neighbours = NeighbourMetrics(neighbours)
        self._correct: list[Tensor] = []

    def update(self, logits: Tensor, turns: Tensor, features: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Take a batch in and return predictions (4B,) and their probabilities (4B,), on the CPU."""
        prediction, score = self.rotations.update(logits, turns)
        self._correct.append((prediction == turns.cpu()).double().view(-1, len(DEGREES)).mean(dim=1))
        self.neighbours.update(features, batch["index"], batch.get("label"))
        return prediction, score

    def compute(self) -> dict[str, float]:
        """Return each metric by name."""
        return self.rotations.compute() | self.neighbours.compute()

    def intervals(self) -> dict[str, Interval]:
        """Return 95% intervals of both accuracies; images are drawn again, not their four rotations one by one."""
        accuracy = mean_intervals(torch.cat(self._correct)[:, None])[0]
        return {"accuracy": accuracy} | self.neighbours.intervals()

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each rotation."""
        return self.rotations.table()

    def subset(self, rows: Tensor) -> "RotationMetrics":
        """Return metrics over the images that `rows`, (4N,) bool with four equal ones an image, marks."""
        images = rows[:: len(DEGREES)]
        chosen = RotationMetrics(None)
        chosen.rotations, chosen.neighbours = self.rotations.subset(rows), self.neighbours.subset(images)
        chosen._correct = [torch.cat(self._correct)[images]]
        return chosen

    def differences(self, other: "RotationMetrics") -> dict[str, Interval]:
        """Return 95% intervals of `other`'s accuracies minus these, paired by image."""
        accuracy = paired_difference(torch.cat(self._correct), torch.cat(other._correct))
        return {"accuracy": accuracy[1:]} | self.neighbours.differences(other.neighbours)


class Rotation(WatchedByNeighbours):
    """Four rotations of each image, told apart by a linear head in the place of the model's own."""

    headline = MetricSpec("accuracy", "max", scale=100.0)
    labelled = False

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        neighbour_examples: NonNegativeInt = 5000,
        neighbours: PositiveInt = 5,
    ) -> None:
        """Replace the head of a model by one of four outputs.

        Args:
            model: A network that tells its parts.
            spec: What the data know.
            neighbour_examples: Labelled training examples embedded at an evaluation; 0: no neighbour_accuracy.
            neighbours: How many nearest neighbours vote.

        Raises:
            ConfigError: Images are not square, or the model does not tell its parts.
        """
        super().__init__()
        check_parts(model, "vision/rotation")
        if len(spec.shape) != 3 or spec.shape[1] != spec.shape[2]:
            raise ConfigError(
                f"task=vision/rotation expects square images (channels, side, side), but the data have {spec.shape}"
            )
        replace_head(model, FeatureHead(nn.Linear(feature_dim(model), len(DEGREES))))
        self.model = model
        self.spec = spec
        self.num_neighbour_examples = neighbour_examples
        self.num_neighbours = neighbours

    def forward(self, batch: Batch) -> Outputs:
        """Return `logits` (4B, 4), the rotations of an image side by side, and `features` (B, D) of it upright."""
        logits, features = self.model(rotations(batch["image"]))
        return {"logits": logits, "features": features[:: len(DEGREES)]}

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of rotated images."""
        return {"cross_entropy": len(DEGREES) * len(batch["image"])}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the cross entropy summed over the rotated images."""
        logits = outputs["logits"]
        return StepOutput({"cross_entropy": cross_entropy_sum(logits, turns_of(logits))})

    def make_metrics(self) -> RotationMetrics:
        """Return fresh metrics over the four rotations."""
        return RotationMetrics(self._neighbours)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: RotationMetrics) -> Records:
        """Return four rows for each image: its index, and the rotation as label, prediction and score."""
        turns = turns_of(outputs["logits"])
        prediction, score = metrics.update(outputs["logits"], turns, outputs["features"], batch)
        index = batch["index"].repeat_interleave(len(DEGREES))
        return {"index": index.cpu(), "label": turns.cpu(), "prediction": prediction, "score": score}

    def exhibits(self, records: Records) -> list[Exhibit]:
        """Return which rotations are taken for which, and the reliability diagram."""
        return label_exhibits(records, DEGREES, pictures=False)

    def export(self) -> dict[str, ExportSpec]:
        """Return the network without its head."""
        return encoder_export(self.model, self.spec)

    def label_names(self) -> tuple[str, ...]:
        """Return the rotations in degrees, counter-clockwise."""
        return DEGREES


def rotations(image: Tensor) -> Tensor:
    """Return square images (B, C, H, H) turned by 0, 90, 180 and 270 degrees, side by side: (4B, C, H, H)."""
    turned = [torch.rot90(image, turns, dims=(2, 3)) for turns in range(len(DEGREES))]
    return torch.stack(turned, dim=1).flatten(0, 1)


def turns_of(logits: Tensor) -> Tensor:
    """Return the number of quarter turns behind each of the rows (4B, 4): (4B,) int64."""
    return torch.arange(len(logits), device=logits.device) % len(DEGREES)
