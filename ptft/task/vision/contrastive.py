"""Contrastive learning, SimCLR (Chen and others, arXiv 2002.05709): two views of an image find each other in the batch.

Views are made by the data's augmentation; what the projector throws away is kept in the features that enter it.
"""

from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.loss.nt_xent import nt_xent_sum
from ptft.metric.neighbours import NeighbourMetrics
from ptft.model.parts import feature_dim, replace_head
from ptft.task.exhibit import Exhibit, label_exhibits
from ptft.task.task import ExportSpec, MetricSpec, Outputs, Records, StepOutput
from ptft.task.vision.features import FeatureHead, WatchedByNeighbours, check_parts, encoder_export
from ptft.types import PositiveFloat, PositiveInt


class Contrastive(WatchedByNeighbours):
    """SimCLR with a projector of two layers in the place of the model's head.

    Training batches hold `views` (B, 2, C, H, W), evaluation batches `image` (B, C, H, W). Judged by the accuracy of
    nearest neighbours in the training split where the data have classes, else by the effective rank of the features.
    """

    headline = MetricSpec("neighbour_accuracy", "max", scale=100.0)
    splittable = False
    views = 2
    labelled = False

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        temperature: PositiveFloat = 0.2,
        projector_hidden: PositiveInt = 256,
        projector_features: PositiveInt = 128,
        neighbour_examples: PositiveInt = 5000,
        neighbours: PositiveInt = 5,
    ) -> None:
        """Replace the head of a model by a projector.

        Args:
            model: A network that tells its parts.
            spec: What the data know.
            temperature: What cosine similarities are divided by.
            projector_hidden: Width of the projector's hidden layer.
            projector_features: Width of what the loss compares.
            neighbour_examples: Labelled training examples embedded at an evaluation.
            neighbours: How many nearest neighbours vote.

        Raises:
            ConfigError: The model does not tell its parts.
        """
        super().__init__()
        check_parts(model, "vision/contrastive")
        projector = FeatureHead(
            nn.Linear(feature_dim(model), projector_hidden),
            nn.ReLU(inplace=True),
            nn.Linear(projector_hidden, projector_features),
        )
        replace_head(model, projector)
        self.model = model
        self.spec = spec
        self.temperature = temperature
        self.num_neighbour_examples = neighbour_examples
        self.num_neighbours = neighbours
        if spec.num_classes == 0:
            self.headline = MetricSpec("effective_rank", "max")

    def forward(self, batch: Batch) -> Outputs:
        """Return `projections` (B, 2, P) of two views, or `features` (B, D) of images."""
        if "views" in batch:
            projections: Tensor = self.model(batch["views"].flatten(0, 1))[0]  # (2B, P)
            return {"projections": projections.view(-1, self.views, projections.shape[1])}
        return {"features": self.model(batch["image"])[1]}

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of views: each is an anchor."""
        return {"nt_xent": self.views * len(batch["views"])}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return NT-Xent summed over the views."""
        return StepOutput({"nt_xent": nt_xent_sum(outputs["projections"], self.temperature)})

    def make_metrics(self) -> NeighbourMetrics:
        """Return fresh metrics that look for neighbours in what `before_evaluation` embedded."""
        return NeighbourMetrics(self._neighbours)

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: NeighbourMetrics) -> Records:
        """Return the index; with labels also label, the neighbours' vote as prediction and its share as score."""
        voted = metrics.update(outputs["features"], batch["index"], batch.get("label"))
        records = {"index": batch["index"].cpu()}
        if voted is None:
            return records
        return records | {"label": batch["label"].cpu(), "prediction": voted[0], "score": voted[1]}

    def exhibits(self, records: Records) -> list[Exhibit]:
        """Return which classes neighbours take for which, and the clearest mistakes, where there are labels."""
        return label_exhibits(records, self.spec.classes, calibrated=False) if "label" in records else []

    def export(self) -> dict[str, ExportSpec]:
        """Return the network without its projector."""
        return encoder_export(self.model, self.spec)

    def label_names(self) -> tuple[str, ...]:
        """Return the names of the classes; empty without labels."""
        return self.spec.classes
