"""Classification: each example belongs to one of the classes that the data name."""

import copy
import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import DataError
from ptft.loss.cast import at_least_float32
from ptft.loss.cross_entropy import cross_entropy_sum, mixed_cross_entropy_sum
from ptft.metric.classification import ClassificationMetrics
from ptft.task.exhibit import Exhibit, chosen_to_explain, label_exhibits, rows_of
from ptft.task.gradcam import grad_cam
from ptft.task.task import ExportSpec, MetricSpec, Outputs, Records, StepOutput, Task
from ptft.types import DropRate


class Classification(Task):
    """One label an example; batches hold the network's inputs and `label`, mixed ones also what tells the mixture.

    Evaluation reports the plain cross entropy as `loss`: smoothing and mixing shape the training alone.
    """

    headline = MetricSpec("accuracy", "max", scale=100.0)
    mixed_labels = True

    def __init__(
        self, model: nn.Module, spec: DataSpec, *, label_smoothing: DropRate = 0.0, test_time_flips: bool = False
    ) -> None:
        """Wrap a network that maps the data's inputs - images (B, C, H, W), or tokens - to logits (B, classes).

        Args:
            model: The network.
            spec: What the data know: their classes.
            label_smoothing: Share of the target spread evenly over all classes.
            test_time_flips: Evaluate each image together with its mirror image: the mean of their probabilities counts.
                Takes twice as long; training and export stay as they are.

        Raises:
            DataError: The data have no classes.
        """
        super().__init__()
        if spec.num_classes < 1:
            raise DataError(
                "classification needs labels, but these data name no classes. Pictures have them by a folder for each "
                "class, or by a csv (data.csv=labels.csv); or choose a task that needs none, as task=vision/rotation"
            )
        self.model = model
        self.spec = spec
        self.label_smoothing = label_smoothing
        self.test_time_flips = test_time_flips

    def forward(self, batch: Batch) -> Outputs:
        """Return {"logits": (B, classes)}; with flips at test time the logarithms of the mean probabilities."""
        logits: Tensor = self.model(*(batch[name] for name in self.spec.inputs))
        if self.training or not self.test_time_flips:
            return {"logits": logits}
        image = batch["image"]
        both = [at_least_float32(values).log_softmax(1) for values in (logits, self.model(image.flip(-1)))]
        return {"logits": torch.logaddexp(*both) - math.log(2)}

    def count(self, batch: Batch, phase: str) -> dict[str, Any]:
        """Return the number of examples."""
        return {"cross_entropy": len(batch["label"])}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the cross entropy, smoothed as set and shared out as mixed, summed over the examples."""
        logits, label = outputs["logits"], batch["label"]
        if "label_share" in batch:
            partner, share = batch["partner_label"], batch["label_share"]
            total = mixed_cross_entropy_sum(logits, label, partner, share, self.label_smoothing)
        else:
            total = cross_entropy_sum(logits, label, self.label_smoothing)
        return StepOutput({"cross_entropy": total})

    def make_metrics(self) -> ClassificationMetrics:
        """Return fresh metrics over the classes of the data."""
        return ClassificationMetrics(self.spec.classes)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: ClassificationMetrics) -> Records:
        """Return index, label, prediction and its probability as score."""
        prediction, score = metrics.update(outputs["logits"], batch["label"])
        return {
            "index": batch["index"].cpu(),
            "label": batch["label"].cpu(),
            "prediction": prediction,
            "score": score,
        }

    def exhibits(self, records: Records) -> list[Exhibit]:
        """Return the confusion matrix, the reliability diagram and the most confident mistakes."""
        return label_exhibits(records, self.label_names())

    def explain(self, method: str, records: Records, batches: Iterable[Batch]) -> list[Exhibit]:
        """Return a gallery of mistakes and right predictions, each with what Grad-CAM says of it."""
        gallery = chosen_to_explain(records, self.label_names())
        image = rows_of(batches, gallery.index)
        return [dataclasses.replace(gallery, heat=grad_cam(self.model, image))]

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from normalised images to logits."""
        module = copy.deepcopy(self.model).eval()
        return {"model": ExportSpec(module, {"image": self.spec.shape}, ("logits",), {"image": {0: "batch"}})}

    def label_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.spec.classes
