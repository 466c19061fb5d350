"""Classification: each example belongs to one of the classes that the data name."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import ConfigError, DataError
from ptft.loss.cast import at_least_float32
from ptft.loss.cross_entropy import cross_entropy_sum, mixed_cross_entropy_sum
from ptft.loss.distillation import distillation_sum
from ptft.loss.focal import focal_sum
from ptft.metric.classification import ClassificationMetrics, decided
from ptft.task.class_weights import class_weights as weights_of
from ptft.task.exhibit import Exhibit, chosen_to_explain, label_exhibits, rows_of
from ptft.task.exporting import network_export
from ptft.task.gradcam import grad_cam
from ptft.task.task import ExportSpec, MetricSpec, Outputs, Records, StepOutput, Task
from ptft.types import DropRate, NonNegativeFloat, UnitFloat

MOST_TOLD = 5
"""Classes whose probabilities are told of a prediction, the likeliest."""


class Classification(Task):
    """One label an example; batches hold the network's inputs and `label`, mixed ones also what tells the mixture.

    Evaluation reports the plain cross entropy as `loss`: smoothing, mixing, weights and focus shape the training alone.
    """

    headline = MetricSpec("accuracy", "max", scale=100.0)
    distils = True
    weights: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        label_smoothing: DropRate = 0.0,
        test_time_flips: bool = False,
        class_weights: Literal["balanced"] | dict[str, float] | None = None,
        focal_gamma: NonNegativeFloat = 0.0,
        positive: str | None = None,
        threshold: Literal["auto"] | UnitFloat | None = None,
        threshold_for: Literal["f1", "balanced_accuracy"] = "f1",
    ) -> None:
        """Wrap a network that maps the data's inputs - images (B, C, H, W), or tokens - to logits (B, classes).

        Args:
            model: The network.
            spec: What the data know: their classes.
            label_smoothing: Share of the target spread evenly over all classes.
            test_time_flips: Evaluate each image together with its mirror image: the mean of their probabilities counts.
                Takes twice as long; training and export stay as they are.
            class_weights: What an example of each class counts in the loss, by name, 1 for those that are not named;
                balanced: such that all classes count the same, by their numbers in the training split.
            focal_gamma: Above 0 the loss is the focal one (arXiv 1708.02002): what is right already counts less.
            positive: Of two classes, the one that a threshold and `f1_positive` are about; None: the second.
            threshold: Probability from which the positive class is predicted; auto: the best on validation, chosen
                once with the weights that are kept; until then, and with None, the likelier class is.
            threshold_for: What auto makes highest.

        Raises:
            DataError: The data have no classes, or more than two where `positive` or `threshold` is given.
            ConfigError: A class is named that the data do not have, or settings exclude each other.
        """
        super().__init__()
        _refuse_other_labels(spec)
        if test_time_flips and spec.kind != "image":
            raise ConfigError(f"task.test_time_flips=true is for images, and these data are {spec.kind}; leave it out")
        if focal_gamma and label_smoothing:
            raise ConfigError(
                f"task.focal_gamma={focal_gamma:g} and task.label_smoothing={label_smoothing:g} work against each "
                "other; set one of them to 0"
            )
        self.model = model
        self.spec = spec
        self.label_smoothing = label_smoothing
        self.test_time_flips = test_time_flips
        self.focal_gamma = focal_gamma
        self.mixed_labels = not focal_gamma
        self.positive = positive_class(positive, threshold, spec)
        self.threshold = threshold
        self.threshold_for = threshold_for
        self.decides = threshold == "auto"
        self.register_buffer("weights", weights_of(class_weights, spec), persistent=False)

    def forward(self, batch: Batch) -> Outputs:
        """Return {"logits": (B, classes)}; with flips at test time the logarithms of the mean probabilities."""
        logits: Tensor = self.model(*(batch[name] for name in self.spec.inputs))
        if self.training or not self.test_time_flips:
            return {"logits": logits}
        image = batch["image"]
        both = [at_least_float32(values).log_softmax(1) for values in (logits, self.model(image.flip(-1)))]
        return {"logits": torch.logaddexp(*both) - math.log(2)}

    def count(self, batch: Batch, phase: str) -> dict[str, Any]:
        """Return the number of examples, or the sum of their weights."""
        label = batch["label"]
        if self.weights is None:
            return {"cross_entropy": len(label)}
        weight = self.weights[label]
        if "label_share" in batch:
            weight = torch.lerp(self.weights[batch["partner_label"]], weight, batch["label_share"].to(weight.dtype))
        return {"cross_entropy": weight.sum()}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the cross entropy - smoothed, mixed, weighted or focal as set - summed over the examples."""
        logits, label = outputs["logits"], batch["label"]
        if self.focal_gamma:
            total = focal_sum(logits, label, self.focal_gamma, self.weights)
        elif "label_share" in batch:
            partner, share = batch["partner_label"], batch["label_share"]
            total = mixed_cross_entropy_sum(logits, label, partner, share, self.label_smoothing, self.weights)
        else:
            total = cross_entropy_sum(logits, label, self.label_smoothing, self.weights)
        return StepOutput({"cross_entropy": total})

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return the number of examples, whatever they weigh."""
        return {"distillation": len(batch["index"])}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return the divergence from the teacher's probabilities, summed over the examples."""
        return StepOutput({"distillation": distillation_sum(outputs["logits"], teacher["logits"], temperature)})

    @property
    def decided_at(self) -> float | None:
        """The threshold that holds now; None: the likelier class is predicted."""
        return self.decision.get("threshold") if self.threshold == "auto" else self.threshold

    def fit_decision(self, metrics: ClassificationMetrics) -> dict[str, float]:
        """Return the threshold of the positive class that is best on validation."""
        return {"threshold": metrics.best_threshold(self.threshold_for)}

    def make_metrics(self) -> ClassificationMetrics:
        """Return fresh metrics over the classes of the data."""
        return ClassificationMetrics(self.spec.classes, positive=self.positive, threshold=self.decided_at)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: ClassificationMetrics) -> Records:
        """Return index, label, prediction and its probability as score."""
        prediction, score = metrics.update(outputs["logits"], batch["label"])
        return {
            "index": batch["index"].cpu(),
            "label": batch["label"].cpu(),
            "prediction": prediction,
            "score": score,
        }

    def decode(self, outputs: Outputs, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the prediction of each row, its probability as score, and the probabilities of the likeliest classes.

        A threshold decides the prediction, so that it need not be the likeliest.
        """
        logits = outputs["logits"].detach().double().cpu()
        probability = logits.softmax(1)
        score, prediction = probability.max(1)
        if self.decided_at is not None:
            prediction, score = decided(logits, self.positive, self.decided_at)
        values, numbers = probability.topk(min(MOST_TOLD, self.spec.num_classes))
        names = self.spec.classes
        told: list[dict[str, Any]] = [{} for _ in rows]
        for place, row in enumerate(batch["index"].tolist()):
            likeliest = zip(numbers[place].tolist(), values[place].tolist(), strict=True)
            told[row] = {
                "prediction": names[int(prediction[place])],
                "score": float(score[place]),
                "probabilities": {names[number]: value for number, value in likeliest},
            }
        return told

    def exhibits(self, records: Records) -> list[Exhibit]:
        """Return the confusion matrix, the reliability diagram and the most confident mistakes."""
        return label_exhibits(records, self.label_names())

    def explain(self, method: str, records: Records, batches: Iterable[Batch]) -> list[Exhibit]:
        """Return a gallery of mistakes and right predictions, each with what Grad-CAM says of it."""
        if self.spec.kind != "image":
            return super().explain(method, records, batches)
        gallery = chosen_to_explain(records, self.label_names())
        image = rows_of(batches, gallery.index)
        return [dataclasses.replace(gallery, heat=grad_cam(self.model, image))]

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from what it takes - normalised images, or tokens - to logits."""
        return network_export(self.model, self.spec)

    def label_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.spec.classes


def positive_class(name: str | None, threshold: str | float | None, spec: DataSpec) -> int:
    """Return the number of the positive class.

    Args:
        name: Its name; None: the second class.
        threshold: Where it begins, if something is said of that.
        spec: The classes.

    Raises:
        DataError: Something is said of it, but there are not two classes.
        ConfigError: There is no such class.
    """
    if spec.num_classes != 2 and (name is not None or threshold is not None):
        key = "positive" if name is not None else "threshold"
        raise DataError(f"task.{key} is for two classes, and these data have {spec.num_classes:,}; leave it out")
    if name is not None and name not in spec.classes:
        raise ConfigError(f"task.positive={name}: the classes are {' and '.join(spec.classes)}")
    return 1 if name is None else spec.classes.index(name)


def _refuse_other_labels(spec: DataSpec) -> None:
    if spec.target != "class":
        raise DataError(
            "task=classification needs examples of one class each (data.target=class), and these data have "
            f"data.target={spec.target}; other tasks are multi_label, regression, text/token_classification"
        )
    if spec.num_classes < 1:
        raise DataError(
            "classification needs labels, but these data name no classes. Pictures have them by a folder for each "
            "class, or by a csv (data.csv=labels.csv); or choose a task that needs none, as task=vision/rotation"
        )
