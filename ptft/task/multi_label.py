"""Multi-label classification: each example carries any number of the labels that the data name, none perhaps."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import DataError
from ptft.loss.cross_entropy import binary_cross_entropy_sum
from ptft.loss.distillation import binary_distillation_sum
from ptft.loss.focal import binary_focal_sum
from ptft.metric.multi_label import MultiLabelMetrics
from ptft.metric.threshold import USUAL
from ptft.task.class_weights import class_weights as weights_of
from ptft.task.exhibit import MOST_MISTAKES, Caption, Exhibit, Gallery
from ptft.task.exporting import network_export
from ptft.task.task import ExportSpec, MetricSpec, Outputs, Records, StepOutput, Task
from ptft.types import NonNegativeFloat, UnitFloat

MOST_TOLD = 5
"""Labels whose probabilities are told of a prediction, beside those that are given."""


class MultiLabel(Task):
    """A yes or no for each label; batches hold the network's inputs and `label`, (B, labels) float 0 or 1.

    The loss is the binary cross entropy, a mean over examples and labels; evaluation reports the plain one.
    """

    headline = MetricSpec("f1_micro", "max", scale=100.0)
    distils = True
    weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        class_weights: dict[str, float] | None = None,
        focal_gamma: NonNegativeFloat = 0.0,
        threshold: Literal["auto"] | UnitFloat = 0.5,
    ) -> None:
        """Wrap a network that maps the data's inputs to logits (B, labels).

        Args:
            model: The network.
            spec: What the data know: their labels.
            class_weights: What an example that carries a label counts in the loss of that label, by name; those that do
                not carry it, and labels that are not named, count 1.
            focal_gamma: Above 0 the loss is the focal one (arXiv 1708.02002): what is right already counts less.
            threshold: Probability from which a label is given; auto: for each label that of the highest F1 on
                validation, chosen once with the weights that are kept; until then 0.5.

        Raises:
            DataError: The data have no labels of this kind.
            ConfigError: `class_weights` names a label that the data do not have.
        """
        super().__init__()
        if spec.target != "labels" or spec.num_classes < 1:
            raise DataError(
                "task=multi_label needs data whose examples carry any number of labels (data.target=labels); where "
                "each has exactly one, choose task=classification"
            )
        self.model = model
        self.spec = spec
        self.focal_gamma = focal_gamma
        self.threshold = threshold
        self.decides = threshold == "auto"
        self.register_buffer("weights", weights_of(class_weights, spec), persistent=False)

    def forward(self, batch: Batch) -> Outputs:
        """Return {"logits": (B, labels)}."""
        return {"logits": self.model(*(batch[name] for name in self.spec.inputs))}

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of pairs of example and label."""
        return {"cross_entropy": batch["label"].numel()}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the binary cross entropy - weighted or focal as set - summed over examples and labels."""
        logits, label = outputs["logits"], batch["label"]
        if self.focal_gamma:
            return StepOutput({"cross_entropy": binary_focal_sum(logits, label, self.focal_gamma, self.weights)})
        return StepOutput({"cross_entropy": binary_cross_entropy_sum(logits, label, self.weights)})

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return the number of pairs of example and label."""
        return {"distillation": len(batch["index"]) * self.spec.num_classes}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return the divergence from the teacher's probability of each label, summed over examples and labels."""
        return StepOutput({"distillation": binary_distillation_sum(outputs["logits"], teacher["logits"], temperature)})

    @property
    def thresholds(self) -> Tensor:
        """The thresholds that hold now, (labels,) float64."""
        usual = USUAL if self.threshold == "auto" else self.threshold
        return torch.tensor([self.decision.get(name, usual) for name in self.spec.classes], dtype=torch.float64)

    def fit_decision(self, metrics: MultiLabelMetrics) -> dict[str, float]:
        """Return the threshold of each label that is best on validation."""
        return dict(zip(self.spec.classes, metrics.best_thresholds(), strict=True))

    def make_metrics(self) -> MultiLabelMetrics:
        """Return fresh metrics over the labels of the data."""
        return MultiLabelMetrics(self.spec.classes, thresholds=self.thresholds)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: MultiLabelMetrics) -> Records:
        """Return index, and for each label whether it is carried, whether it is given, and its probability."""
        given, score = metrics.update(outputs["logits"], batch["label"])
        carried = batch["label"].cpu() > 0.5
        records = {"index": batch["index"].cpu()}
        for number, name in enumerate(self.spec.classes):
            records[f"carried.{name}"] = carried[:, number].long()
            records[f"given.{name}"] = given[:, number].long()
            records[f"score.{name}"] = score[:, number]
        return records

    def decode(self, outputs: Outputs, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the labels given to each row, and the probabilities of those and of the likeliest."""
        probability = outputs["logits"].detach().double().cpu().sigmoid()
        given = probability >= self.thresholds
        told: list[dict[str, Any]] = [{} for _ in rows]
        for place, row in enumerate(batch["index"].tolist()):
            order = probability[place].argsort(descending=True, stable=True).tolist()
            names = [self.spec.classes[number] for number in order if given[place, number]]
            likeliest = [number for at, number in enumerate(order) if at < MOST_TOLD or given[place, number]]
            values = {self.spec.classes[number]: float(probability[place, number]) for number in likeliest}
            told[row] = {"prediction": names, "probabilities": values}
        return told

    def exhibits(self, records: Records) -> list[Exhibit]:
        """Return the examples that are wrong in the most labels."""
        names = self.spec.classes
        carried, given = (
            torch.stack([records[f"{kind}.{name}"] for name in names], 1) for kind in ("carried", "given")
        )
        wrong = (carried != given).sum(dim=1)
        order = wrong.argsort(descending=True, stable=True)
        order = order[wrong[order] > 0][:MOST_MISTAKES]
        if not len(order):
            return []
        captions = tuple(
            Caption(self._names(own), self._names(taken), float("nan"))
            for own, taken in zip(carried[order], given[order], strict=True)
        )
        return [Gallery("mistakes", "Most labels wrong", records["index"][order], captions)]

    def _names(self, marks: Tensor) -> str:
        """Return the names of the labels that (labels,) marks."""
        return ", ".join(self.spec.classes[number] for number in marks.nonzero()[:, 0].tolist())

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from what it takes to logits (B, labels)."""
        return network_export(self.model, self.spec)

    def label_names(self) -> tuple[str, ...]:
        """Return the names of the labels."""
        return self.spec.classes
