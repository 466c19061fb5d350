"""Regression: a number an example, by least squares."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import DataError
from ptft.loss.cast import at_least_float32
from ptft.metric.regression import RegressionMetrics
from ptft.task.exhibit import MOST_MISTAKES, Caption, Exhibit, Gallery
from ptft.task.exporting import network_export
from ptft.task.task import ExportSpec, MetricSpec, Outputs, Records, StepOutput, Task


class Regression(Task):
    """A number for each example; batches hold the network's inputs and `label`, (B,) float.

    The network learns the standardised labels - of mean 0 and deviation 1 over the training split - so that neither
    their unit nor their height decides how large a step is; metrics and predictions are in the labels' own unit.
    """

    headline = MetricSpec("mse", "min")
    distils = True

    def __init__(self, model: nn.Module, spec: DataSpec, *, standardised: bool = True) -> None:
        """Wrap a network that maps the data's inputs to one number (B, 1).

        Args:
            model: The network.
            spec: What the data know: mean and deviation of the training labels.
            standardised: Whether the network gives standardised numbers; else the labels' own.

        Raises:
            DataError: The labels are no numbers.
        """
        super().__init__()
        if spec.target != "value":
            raise DataError(
                "task=regression needs data whose labels are numbers (data.target=value); for names of classes choose "
                "task=classification"
            )
        self.model = model
        self.spec = spec
        self.mean, self.scale = (spec.value_mean, spec.value_std or 1.0) if standardised else (0.0, 1.0)

    def forward(self, batch: Batch) -> Outputs:
        """Return {"value": (B,)} as the network gives it."""
        value: Tensor = self.model(*(batch[name] for name in self.spec.inputs))
        return {"value": at_least_float32(value).squeeze(1)}

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of examples."""
        return {"squared_error": len(batch["label"])}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the squared errors of the (standardised) labels, summed over the examples."""
        value = outputs["value"]
        label = ((batch["label"].double() - self.mean) / self.scale).to(value.dtype)
        return StepOutput({"squared_error": (value - label).square().sum()})

    def full_outputs(self, batch: Batch) -> Outputs:
        """Return `value` (B,) as `forward` does, and `prediction` (B,) in the labels' own unit."""
        outputs: Outputs = self(batch)
        return outputs | {"prediction": outputs["value"] * self.scale + self.mean}

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return the number of examples."""
        return {"distillation": len(batch["index"])}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return the squared distances from the teacher's numbers, in this task's scale, summed over the examples.

        Numbers have no temperature.
        """
        distance = (outputs["prediction"] - teacher["prediction"].detach()) / self.scale
        return StepOutput({"distillation": distance.square().sum()})

    def make_metrics(self) -> RegressionMetrics:
        """Return fresh metrics."""
        return RegressionMetrics()

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: RegressionMetrics) -> Records:
        """Return index, target and prediction."""
        prediction = metrics.update(self._own_unit(outputs), batch["label"])
        return {"index": batch["index"].cpu(), "target": batch["label"].double().cpu(), "prediction": prediction}

    def decode(self, outputs: Outputs, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the number predicted for each row."""
        told: list[dict[str, Any]] = [{} for _ in rows]
        for row, value in zip(batch["index"].tolist(), self._own_unit(outputs).tolist(), strict=True):
            told[row] = {"prediction": value}
        return told

    def exhibits(self, records: Records) -> list[Exhibit]:
        """Return the examples of the largest errors."""
        error = (records["prediction"] - records["target"]).abs()
        order = error.argsort(descending=True, stable=True)[:MOST_MISTAKES]
        pairs = zip(records["target"][order].tolist(), records["prediction"][order].tolist(), strict=True)
        captions = tuple(Caption(f"{target:.4g}", f"{found:.4g}", float("nan")) for target, found in pairs)
        return [Gallery("mistakes", "Largest errors", records["index"][order], captions)]

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from what it takes to one number (B, 1), standardised."""
        return network_export(self.model, self.spec, ("value",))

    def _own_unit(self, outputs: Outputs) -> Tensor:
        """Return the predictions in the unit of the labels, (B,) float64 on the CPU."""
        return outputs["value"].detach().cpu().double() * self.scale + self.mean
