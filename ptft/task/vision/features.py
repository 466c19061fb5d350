"""What self-supervised tasks share: a head that hands on the features too, and neighbours from the training split."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.errors import ConfigError, DataError
from ptft.metric.neighbours import Neighbours
from ptft.model.parts import HasParts, replace_head
from ptft.task.task import ExportSpec, Outputs, Task


class FeatureHead(nn.Sequential):
    """A head that hands on its input too, so that a model that ends with it returns (outputs, features).

    It needs no hooks, and its weights are named like those of any head.
    """

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, D) to (outputs, features)."""
        outputs = features
        for layer in self:
            outputs = layer(outputs)
        return outputs, features


class WatchedByNeighbours(Task):
    """A task whose features are watched by nearest neighbours among labelled training examples.

    A subclass gives `features` (B, D) for batches at an evaluation. They are what it predicts of a picture, too.
    """

    spec: DataSpec
    num_neighbour_examples: int
    num_neighbours: int
    _neighbours: Neighbours | None = None

    def before_evaluation(self, loaders: Mapping[str, Iterable[Batch]]) -> None:
        """Embed training examples, among which neighbours are looked for."""
        self._neighbours = embed_neighbours(
            self, loaders, self.spec, num_examples=self.num_neighbour_examples, num_neighbours=self.num_neighbours
        )

    def decode(self, outputs: Outputs, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the features of each row: D numbers, to seven digits, which is all that float32 holds."""
        features = outputs["features"].detach().double().cpu()
        told: list[dict[str, Any]] = [{} for _ in rows]
        for row, values in zip(batch["index"].tolist(), features.tolist(), strict=True):
            told[row] = {"features": [float(f"{value:.7g}") for value in values]}
        return told


def check_parts(model: nn.Module, task: str) -> None:
    """Refuse a model whose head cannot be replaced.

    Raises:
        ConfigError: The model does not tell its parts.
    """
    if not isinstance(model, HasParts):
        raise ConfigError(
            f"task={task} replaces the model's head, but {type(model).__name__} does not tell its parts; "
            "choose a model that does, as model=vision/convnet"
        )


def embed_neighbours(
    task: nn.Module, loaders: Mapping[str, Iterable[Batch]], spec: DataSpec, *, num_examples: int, num_neighbours: int
) -> Neighbours | None:
    """Embed the first labelled examples of the `train` split; None when the data have no classes or none are asked for.

    Args:
        task: Called on batches for its output `features`: (B, D).
        loaders: The evaluation loaders; `train` among them.
        spec: What the data know.
        num_examples: How many examples to embed at most.
        num_neighbours: How many of them vote.

    Raises:
        DataError: There are classes, but no `train` loader or no labelled example in it.
    """
    if spec.num_classes == 0 or num_examples == 0:
        return None
    if "train" not in loaders:
        raise DataError(f"neighbours are looked for in the split 'train', but there are only {sorted(loaders)}")
    features, labels, indices, missing = [], [], [], num_examples
    for batch in loaders["train"]:
        labelled = (batch["label"] >= 0).nonzero()[:missing, 0]
        if len(labelled):
            features.append(task(batch)["features"][labelled])
            labels.append(batch["label"][labelled])
            indices.append(batch["index"][labelled])
        missing -= len(labelled)
        if missing <= 0:
            break
    if not features:
        raise DataError("neighbours are looked for in the split 'train', but it holds no labelled example")
    return Neighbours.embed(
        torch.cat(features),
        torch.cat(labels),
        torch.cat(indices),
        num_classes=spec.num_classes,
        num_neighbours=num_neighbours,
    )


def encoder_export(model: nn.Module, spec: DataSpec) -> dict[str, ExportSpec]:
    """Return a copy of the network without its head, from normalised images to features."""
    module = copy.deepcopy(model).eval()
    replace_head(module, nn.Identity())
    return {"encoder": ExportSpec(module, {"image": spec.shape}, ("features",), {"image": {0: "batch"}})}
